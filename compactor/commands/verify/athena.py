"""`verify --athena`: whether Athena (engine version 3) can read the tables, by their metadata.

The rules are those of Athena's documentation ("Query Apache Iceberg tables": format version 2, Glue alone, types) and
of Glue's. No row is read. A rule that no table breaks is one passed check; each table that breaks one is a failed check
that says what to do. Facts that break nothing, but that matter to who queries the tables, are passed checks.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compactor.config import Config
from compactor.errors import CompactorError
from compactor.lake import table_facts
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import Table
from compactor.lake.table_facts import PUFFIN, TableFacts
from compactor.registry.loader import Registry
from compactor.reports.report import Check, VerifyReport

NAME_BYTES = 255
TYPE_BYTES = 131_072
"""Of the text of one column's type, in Glue."""
COLUMNS_BYTES = 250_000
"""Of all columns in one request to Glue. AWS states no limit; requests of some 500,000 bytes (3,600 columns) were
refused with "Payload size of request exceeded limit". Half of that leaves time to act.
"""
OPEN_PARTITIONS = 100
"""That one INSERT or CREATE TABLE AS of Athena writes to."""
SMALL_FILE_BYTES = 16 * 1024 * 1024

_NAME = re.compile(r"[a-z0-9_]+", re.ASCII)
_TYPES = re.compile(r"boolean|int|long|float|double|decimal\(\d+, ?\d+\)|string|binary|date|timestamp|timestamptz")
_TRANSFORMS = re.compile(r"identity|year|month|day|hour|void|(bucket|truncate)\[\d+\]")
_FORMATS = ("PARQUET", "ORC", "AVRO")


@dataclass(frozen=True)
class Found:
    """One table: its metadata and, where the catalog is Glue, its entry there."""

    table: Table
    facts: TableFacts
    glue: Mapping[str, Any] | None


Rule = Callable[[Found], Iterator[str]]
"""Yields a sentence for each thing of the table that Athena cannot read, with the next step."""


def verify(config: Config, registry: Registry) -> VerifyReport:
    """Checks all tables that exist. Raises CompactorError where there is none, or they cannot be read."""
    lake = Lakehouse(config)
    found = [_look(lake, name) for name in sorted(lake.columns(registry)) if lake.exists(name)]
    if not found:
        raise CompactorError("there are no tables yet; run `compactor compact` first")
    checks: list[Check] = []
    for name, rule, passed in _RULES:
        broken = [Check(name, each.facts.name, ok=False, detail=wrong) for each in found for wrong in rule(each)]
        checks += broken or [Check(name, _count(found), ok=True, detail=passed)]
    return VerifyReport((*checks, *_entries(lake, found), *_facts(found)))


def _look(lake: Lakehouse, name: str) -> Found:
    table = lake.table(name)
    return Found(table, table_facts.read(table), lake.glue_entry(name))


def _version(found: Found) -> Iterator[str]:
    if found.facts.format_version != 2:
        yield f"its format version is {found.facts.format_version}; Athena reads only version 2: write the table again"


def _types(found: Found) -> Iterator[str]:
    for path, kind in found.facts.columns:
        if not _TYPES.fullmatch(kind):
            yield (
                f"column '{path}' is a {kind}, a type that Athena does not have;"
                " give it another type in the registry, then run `compactor migrate apply`"
            )


def _names(found: Found) -> Iterator[str]:
    for name in dict.fromkeys([found.facts.name, *found.facts.names]):
        if not _NAME.fullmatch(name):
            yield (
                f"'{name}' should have only a-z, 0-9 and _, because Glue writes names in lower case;"
                " rename it by `column` in the registry"
            )
        elif len(name) > NAME_BYTES:
            yield (
                f"'{name[:40]}…' has {len(name)} bytes, more than {NAME_BYTES};"
                " give it a shorter `column` in the registry"
            )


def _transforms(found: Found) -> Iterator[str]:
    for transform in found.facts.transforms:
        if not _TRANSFORMS.fullmatch(transform):
            yield f"it is partitioned by {transform}, which Athena does not know; choose another partition"


def _formats(found: Found) -> Iterator[str]:
    formats = found.facts.files.formats
    for form in sorted(set(formats) - {*_FORMATS, PUFFIN}):
        yield f"{formats[form]} files are {form}; write them again as Parquet"


def _deletes(found: Found) -> Iterator[str]:
    if vectors := found.facts.files.deletes["DELETION_VECTORS"]:
        yield f"Athena does not read its {vectors} deletion vectors; compact it with the engine that wrote them"


def _size(found: Found) -> Iterator[str]:
    columns, past = found.facts.sent_columns, found.facts.past_columns
    total = sum(len(json.dumps(column).encode()) for column in columns)
    if total > COLUMNS_BYTES:
        yield (
            f"a commit sends {len(columns)} columns to Glue, {past} of them past ones: {total:,} bytes, more than"
            f" {COLUMNS_BYTES:,}; promote fewer keys, and drop past schemas from the metadata with an engine that can"
        )
    for column in columns:
        if len(column["Type"]) > TYPE_BYTES:
            size = f"{len(column['Type']):,} bytes, more than {TYPE_BYTES:,}"
            yield f"the text of the type of '{column['Name']}' has {size}; flatten it"


def _entry(found: Found) -> Iterator[str]:
    if found.glue is None:
        return
    parameters = found.glue.get("Parameters", {})
    if parameters.get("table_type", "").upper() != "ICEBERG":
        yield "Glue's table_type is not ICEBERG; register the table again from its metadata file"
    if found.glue.get("TableType") != "EXTERNAL_TABLE":
        yield "Glue's TableType is not EXTERNAL_TABLE; register the table again from its metadata file"
    location = parameters.get("metadata_location", "")
    if location != found.table.reload().metadata_location:
        yield (
            "Glue's metadata_location is not the table's newest;"
            " run again and, if this stays, register the table again from its metadata file"
        )
    if not location.startswith("s3://"):
        yield "its metadata is not at an s3:// address, and Athena reads no other; load it into a bucket"


_RULES: tuple[tuple[str, Rule, str], ...] = (
    ("format version", _version, "2"),
    ("types", _types, "all are types of Athena, nested ones too"),
    ("names", _names, f"a-z, 0-9 and _, at most {NAME_BYTES} bytes"),
    ("partition transforms", _transforms, "identity, year, month, day, hour, bucket, truncate"),
    ("file formats", _formats, "Parquet, ORC or Avro"),
    ("no deletion vectors", _deletes, "none"),
    ("columns fit into a request to Glue", _size, f"below {COLUMNS_BYTES:,} bytes a commit, past columns too"),
)


def _entries(lake: Lakehouse, found: Sequence[Found]) -> Iterator[Check]:
    """What Glue says of the tables, where it is the catalog."""
    name = "the entry in Glue"
    if all(each.glue is None for each in found):
        detail = "the catalog is not Glue, and Athena reads no other; the tables are checked as if they were there"
        yield Check(name, lake.config.catalog.name, ok=True, detail=detail)
        return
    broken = [Check(name, each.facts.name, ok=False, detail=wrong) for each in found for wrong in _entry(each)]
    yield from broken or [Check(name, _count(found), ok=True, detail="ICEBERG, external, at the newest metadata")]


def _facts(found: Sequence[Found]) -> Iterator[Check]:
    """What breaks nothing, in figures."""
    deletes = sum((each.facts.files.deletes for each in found), Counter[str]())
    kinds = ", ".join(f"{count} {kind.lower().replace('_', ' ')}" for kind, count in sorted(deletes.items()))
    cost = "; each is read with its data file: compact the tables" if deletes else ""
    yield Check("delete files", _count(found), ok=True, detail=f"{kinds or 'none'}{cost}")
    sizes = [size for each in found for size in each.facts.files.sizes]
    small = sum(size < SMALL_FILE_BYTES for size in sizes)
    detail = f"{len(sizes):,} files, {sum(sizes) / 1e6:,.1f} MB; {small:,} below {SMALL_FILE_BYTES >> 20} MiB"
    yield Check("file sizes", _count(found), ok=True, detail=detail)
    for each in found:
        if (partitions := len(each.facts.files.partitions)) > OPEN_PARTITIONS:
            limit = f"one INSERT or CREATE TABLE AS of Athena writes to {OPEN_PARTITIONS} at most"
            detail = f"{partitions:,} partitions; {limit}"
            yield Check("partitions", each.facts.name, ok=True, detail=detail)
    for each in found:
        if tags := each.facts.tags:
            shown = ", ".join(f"{name}: FOR VERSION AS OF {snapshot}" for name, snapshot in sorted(tags.items())[:3])
            detail = f"{len(tags)}, which Athena knows only by their snapshots: {shown}"
            yield Check("tags", each.facts.name, ok=True, detail=detail)
    snapshots = sum(each.facts.snapshots for each in found)
    yield Check("snapshots", _count(found), ok=True, detail=f"{snapshots:,}, each of which can be queried")


def _count(found: Sequence[Found]) -> str:
    return f"{len(found)} tables"

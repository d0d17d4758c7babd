"""What Athena (engine version 3) takes of a table, checked on the tables' metadata: `verify --athena`.

The rules are those of Athena's documentation ("Query Apache Iceberg tables": format version 2, Glue alone, types) and
of Glue's. No row is read. A rule that no table breaks is one passed check; each table that breaks one is a failed check
that says what to do. Facts that break nothing, but that who queries should know, are passed checks with the figures.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compactor.config import Config
from compactor.errors import CompactorError
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import Table
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


@dataclass
class Found:
    """What one table's metadata says. Files are counted while its manifests are read one by one."""

    table: Table
    glue: Mapping[str, Any] | None = None
    files: int = 0
    bytes: int = 0
    small: int = 0
    deletes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    partitions: set[tuple[int, str]] = field(default_factory=set)

    @property
    def metadata(self) -> Any:
        return self.table.iceberg.metadata


Rule = Callable[[Found], Iterator[str]]
"""Yields a sentence for each thing of the table that Athena does not take, with the next step."""


def verify(config: Config, registry: Registry) -> VerifyReport:
    """The checks, over all tables that are there. Raises CompactorError where there is none, or they cannot be read."""
    lake = Lakehouse(config)
    found = [_look(lake, name) for name in sorted(lake.columns(registry)) if lake.exists(name)]
    if not found:
        raise CompactorError("there are no tables yet; run `compactor compact` first")
    checks: list[Check] = list(_namespace(lake.namespace))
    for name, rule, says in _RULES:
        broken = [Check(name, each.table.name, ok=False, detail=wrong) for each in found for wrong in rule(each)]
        checks += broken or [Check(name, _of(found), ok=True, detail=says)]
    return VerifyReport((*checks, *_facts(lake, found)))


def _look(lake: Lakehouse, name: str) -> Found:
    table = lake.table(name)
    found = Found(table, lake.glue_entry(name))
    snapshot = table.iceberg.current_snapshot()
    for manifest in snapshot.manifests(table.iceberg.io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(table.iceberg.io, discard_deleted=True):
            file, form = entry.data_file, entry.data_file.file_format.name
            found.formats[form] += 1
            if file.content.name != "DATA":
                found.deletes["deletion vectors" if form == "PUFFIN" else file.content.name] += 1
                continue
            found.files += 1
            found.bytes += file.file_size_in_bytes
            found.small += file.file_size_in_bytes < SMALL_FILE_BYTES
            found.partitions.add((manifest.partition_spec_id, str(file.partition)))
    return found


def _namespace(name: str) -> Iterator[Check]:
    ok = bool(_NAME.fullmatch(name)) and len(name) <= NAME_BYTES
    detail = "" if ok else "set 'namespace' to a name of a-z, 0-9 and _; the tables have to be loaded anew there"
    yield Check("names", name, ok, detail or "the database")


def _version(found: Found) -> Iterator[str]:
    if found.metadata.format_version != 2:
        yield f"its format version is {found.metadata.format_version}; Athena reads 2 alone: write the table anew"


def _types(found: Found) -> Iterator[str]:
    for path, kind in _walk(found.metadata.schema().as_struct(), ""):
        if not _TYPES.fullmatch(kind):
            yield f"column '{path}' is a {kind}, which Athena has not; give it another type in the registry and migrate"


def _walk(kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, type) of all that is no struct, list or map, nested ones too."""
    if hasattr(kind, "fields"):
        for part in kind.fields:
            yield from _walk(part.field_type, f"{path}.{part.name}".lstrip("."))
    elif hasattr(kind, "element_type"):
        yield from _walk(kind.element_type, f"{path}.element")
    elif hasattr(kind, "key_type"):
        yield from _walk(kind.key_type, f"{path}.key")
        yield from _walk(kind.value_type, f"{path}.value")
    else:
        yield path, str(kind)


def _of_fields(kind: Any) -> Iterator[str]:
    """The names of all fields, nested ones too."""
    for part in getattr(kind, "fields", ()):
        yield part.name
        yield from _of_fields(part.field_type)
    for inner in ("element_type", "key_type", "value_type"):
        if hasattr(kind, inner):
            yield from _of_fields(getattr(kind, inner))


def _names(found: Found) -> Iterator[str]:
    partitions = [part.name for part in found.metadata.spec().fields]
    for name in dict.fromkeys([found.table.name, *_of_fields(found.metadata.schema().as_struct()), *partitions]):
        if not _NAME.fullmatch(name):
            yield f"'{name}' should be a-z, 0-9 and _ alone: Glue lowers it; rename it by `column` in the registry"
        elif len(name) > NAME_BYTES:
            yield f"'{name[:40]}…' has {len(name)} bytes of {NAME_BYTES}; give it a shorter `column` in the registry"


def _transforms(found: Found) -> Iterator[str]:
    for part in found.metadata.spec().fields:
        if not _TRANSFORMS.fullmatch(str(part.transform)):
            yield f"it is partitioned by {part.transform}, which Athena does not know; partition it by another"


def _formats(found: Found) -> Iterator[str]:
    for form in sorted(set(found.formats) - {*_FORMATS, "PUFFIN"}):
        yield f"{found.formats[form]} files are {form}; write them anew as Parquet"


def _deletes(found: Found) -> Iterator[str]:
    if vectors := found.deletes["deletion vectors"]:
        yield f"Athena does not read its {vectors} deletion vectors; compact it with the engine that wrote them"


def _entry(found: Found) -> Iterator[str]:
    if found.glue is None:
        return
    parameters = found.glue.get("Parameters", {})
    if parameters.get("table_type", "").upper() != "ICEBERG":
        yield "Glue's table_type is not ICEBERG; register the table again from its metadata file"
    if found.glue.get("TableType") != "EXTERNAL_TABLE":
        yield "Glue's TableType is not EXTERNAL_TABLE; register the table again from its metadata file"
    location = parameters.get("metadata_location", "")
    if location != found.table.reload().iceberg.metadata_location:
        yield "Glue's metadata_location is not the table's newest; run again, and if it stays, register the table again"
    if not location.startswith("s3://"):
        yield "its metadata is not at an s3:// address, and Athena reads no other; load it into a bucket"


def _size(found: Found) -> Iterator[str]:
    columns = sent_columns(found.metadata.schemas)
    total = sum(map(_bytes, columns))
    if total > COLUMNS_BYTES:
        past = len(columns) - len(found.metadata.schema().fields)
        yield (
            f"a commit sends {len(columns)} columns to Glue, {past} of them past ones: {total:,} bytes of"
            f" {COLUMNS_BYTES:,}; promote fewer keys, and have an engine that can drop past schemas from the metadata"
        )
    for column in columns:
        if len(column["Type"]) > TYPE_BYTES:
            size = f"{len(column['Type']):,} bytes of {TYPE_BYTES:,}"
            yield f"the type of '{column['Name']}' is a text of {size}; flatten it"


def sent_columns(schemas: Sequence[Any]) -> list[dict[str, Any]]:
    """The columns that PyIceberg puts into each commit's request: those of the newest schema that has the name."""
    fields = {part.name: part for schema in schemas for part in schema.fields}
    return [
        {
            "Name": name,
            "Type": str(part.field_type),
            "Parameters": {
                "iceberg.field.id": str(part.field_id),
                "iceberg.field.optional": str(part.optional).lower(),
                "iceberg.field.current": "false",
            },
        }
        for name, part in fields.items()
    ]


def _bytes(column: Mapping[str, Any]) -> int:
    return len(json.dumps(column).encode())


_RULES: tuple[tuple[str, Rule, str], ...] = (
    ("format version", _version, "2"),
    ("types", _types, "all are types of Athena, nested ones too"),
    ("names", _names, f"a-z, 0-9 and _, at most {NAME_BYTES} bytes"),
    ("partition transforms", _transforms, "identity, year, month, day, hour, bucket, truncate"),
    ("file formats", _formats, "Parquet, ORC or Avro"),
    ("no deletion vectors", _deletes, "none"),
    ("columns fit into a request to Glue", _size, f"below {COLUMNS_BYTES:,} bytes a commit, past columns too"),
)


def _facts(lake: Lakehouse, found: Sequence[Found]) -> Iterator[Check]:
    if all(each.glue is None for each in found):
        told = "the catalog is not Glue, and Athena reads no other: checked is what the tables would bring there"
        yield Check("the entry in Glue", lake.config.catalog.name, ok=True, detail=told)
    else:
        broken = [
            Check("the entry in Glue", each.table.name, ok=False, detail=wrong)
            for each in found
            for wrong in _entry(each)
        ]
        yield from broken or [
            Check("the entry in Glue", _of(found), ok=True, detail="ICEBERG, external, at the newest metadata")
        ]
    deletes = sum((each.deletes for each in found), Counter[str]())
    told = ", ".join(f"{count} {kind.lower().replace('_', ' ')}" for kind, count in sorted(deletes.items())) or "none"
    cost = "; each is read with its data file: compact the tables" if deletes else ""
    yield Check("delete files", _of(found), ok=True, detail=f"{told}{cost}")
    files, size, small = (sum(getattr(each, name) for each in found) for name in ("files", "bytes", "small"))
    told = f"{files:,} files, {size / 1e6:,.1f} MB; {small:,} below {SMALL_FILE_BYTES >> 20} MiB"
    yield Check("file sizes", _of(found), ok=True, detail=told)
    for each in found:
        if len(each.partitions) > OPEN_PARTITIONS:
            count = f"{len(each.partitions):,} partitions"
            told = f"{count}; one INSERT or CREATE TABLE AS of Athena writes to {OPEN_PARTITIONS} at most"
            yield Check("partitions", each.table.name, ok=True, detail=told)
    for each in found:
        tags = [(name, ref.snapshot_id) for name, ref in each.metadata.refs.items() if ref.snapshot_ref_type == "tag"]
        if tags:
            shown = ", ".join(f"{name}: FOR VERSION AS OF {snapshot}" for name, snapshot in sorted(tags)[:3])
            told = f"{len(tags)}, which Athena knows by their snapshots alone: {shown}"
            yield Check("tags", each.table.name, ok=True, detail=told)
    snapshots = sum(len(each.metadata.snapshots) for each in found)
    yield Check("snapshots", _of(found), ok=True, detail=f"{snapshots:,} to travel to")


def _of(found: Sequence[Found]) -> str:
    return f"{len(found)} tables"

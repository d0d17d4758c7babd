"""What the metadata of one table says, as plain values: for checks of what an engine can read. No row is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from compactor.lake.table import Table

PUFFIN = "PUFFIN"


@dataclass
class FileFacts:
    """The live files of a table's current snapshot, counted while its manifests are read one by one.

    Attributes:
        sizes: bytes of each data file.
        formats: files of any content by format: PARQUET, ORC, AVRO, PUFFIN.
        deletes: delete files by kind: POSITION_DELETES, EQUALITY_DELETES, DELETION_VECTORS.
        partitions: (partition spec id, partition as text) of the data files.
    """

    sizes: list[int] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    deletes: Counter[str] = field(default_factory=Counter)
    partitions: set[tuple[int, str]] = field(default_factory=set)


@dataclass(frozen=True)
class TableFacts:
    """One table.

    Attributes:
        columns: (path, Iceberg type as text) of all that is no struct, list or map, nested fields too.
        names: the names of all fields, nested fields too, and of the partition fields.
        transforms: of the partition fields, as text.
        sent_columns: the columns that a commit sends to Glue (see `sent_columns`).
        past_columns: how many of these are not in the current schema.
        tags: name -> snapshot id.
        snapshots: how many the metadata has.
    """

    name: str
    format_version: int
    columns: tuple[tuple[str, str], ...]
    names: tuple[str, ...]
    transforms: tuple[str, ...]
    sent_columns: tuple[Mapping[str, Any], ...]
    past_columns: int
    tags: Mapping[str, int]
    snapshots: int
    files: FileFacts


def read(table: Table) -> TableFacts:
    """Reads the metadata and the manifests of a table."""
    metadata = table._iceberg.metadata
    schema, spec = metadata.schema(), metadata.spec()
    columns = sent_columns(metadata.schemas)
    return TableFacts(
        name=table.name,
        format_version=metadata.format_version,
        columns=tuple(_leaves(schema.as_struct(), "")),
        names=(*_names(schema.as_struct()), *(part.name for part in spec.fields)),
        transforms=tuple(str(part.transform) for part in spec.fields),
        sent_columns=tuple(columns),
        past_columns=len(columns) - len(schema.fields),
        tags={name: ref.snapshot_id for name, ref in metadata.refs.items() if ref.snapshot_ref_type == "tag"},
        snapshots=len(metadata.snapshots),
        files=_files(table),
    )


def sent_columns(schemas: Sequence[Any]) -> list[dict[str, Any]]:
    """The columns that PyIceberg puts into the request of each commit to Glue: of each name, the newest schema's."""
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


def _files(table: Table) -> FileFacts:
    found = FileFacts()
    iceberg = table._iceberg
    snapshot = iceberg.current_snapshot()
    for manifest in snapshot.manifests(iceberg.io) if snapshot else ():
        for entry in manifest.fetch_manifest_entry(iceberg.io, discard_deleted=True):
            file, form = entry.data_file, entry.data_file.file_format.name
            found.formats[form] += 1
            if file.content.name != "DATA":
                found.deletes["DELETION_VECTORS" if form == PUFFIN else file.content.name] += 1
                continue
            found.sizes.append(file.file_size_in_bytes)
            found.partitions.add((manifest.partition_spec_id, str(file.partition)))
    return found


def _leaves(kind: Any, path: str) -> Iterator[tuple[str, str]]:
    """(path, type) of all that is no struct, list or map, nested fields too."""
    if hasattr(kind, "fields"):
        for part in kind.fields:
            yield from _leaves(part.field_type, f"{path}.{part.name}".lstrip("."))
    elif hasattr(kind, "element_type"):
        yield from _leaves(kind.element_type, f"{path}.element")
    elif hasattr(kind, "key_type"):
        yield from _leaves(kind.key_type, f"{path}.key")
        yield from _leaves(kind.value_type, f"{path}.value")
    else:
        yield path, str(kind)


def _names(kind: Any) -> Iterator[str]:
    """The names of all fields, nested fields too."""
    for part in getattr(kind, "fields", ()):
        yield part.name
        yield from _names(part.field_type)
    for inner in ("element_type", "key_type", "value_type"):
        if hasattr(kind, inner):
            yield from _names(getattr(kind, inner))

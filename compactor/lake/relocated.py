"""Writes the metadata of a copied table again, for its new place: new files beside the copied ones, none is replaced.

Snapshots, sequence numbers, statistics and the table's UUID stay as they are, so all snapshots and tags can be read. Of
files that are written again, the files of deleted positions come first, then manifests, manifest lists, and the
metadata file at last. Nothing refers to any of them before the catalog has the new metadata file.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from compactor.errors import CompactorError
from compactor.lake import avro
from compactor.lake.copied import (
    DATA,
    POSITION_DELETES,
    STATISTICS,
    CopiedTable,
    Storage,
    Survey,
    entries,
    manifest_lists,
)

_PATH_OF_DELETE = 2147483546
"""The field id that the specification gives to the path of the data file in a file of deleted positions."""
_BATCH_ROWS = 65_536


def write(storage: Storage, table: CopiedTable, survey: Survey) -> str:
    """Writes what has to be written again, and returns the path of the new metadata file.

    A file that is missing is named at its new place all the same. If anything fails, the files written so far are
    deleted.
    """
    written: list[str] = []
    try:
        with storage.listed([table.path.rpartition("/")[0]]):
            return _write(storage, table, survey, written)
    except Exception:
        for path in written:
            try:
                storage.io.delete(path)
            except OSError:
                continue  # it costs storage, not correctness
        raise


def _write(storage: Storage, table: CopiedTable, survey: Survey, written: list[str]) -> str:
    folder, run = table.path.rpartition("/")[0], uuid.uuid4()
    deletes: dict[str, tuple[str, int]] = {}
    for path in survey.deletes:
        new = table.move.new(path)
        if storage.size(new) is not None:
            target = f"{new.removesuffix('.parquet')}-{run}.parquet"
            written.append(target)
            deletes[path] = target, _write_deletes(storage, table, new, target)
    manifests: dict[str, tuple[str, int]] = {}
    for number, (path, size) in enumerate(survey.manifests.items()):
        new = table.move.new(path)
        if storage.size(new) == size:
            target = f"{folder}/{run}-m{number}.avro"
            written.append(target)
            manifests[path] = target, _write_manifest(storage, table, new, target, deletes)
    lists: dict[str, str] = {}
    for number, path in enumerate(manifest_lists(table)):
        new = lists[path] = table.move.new(path)
        if storage.size(new) is not None:
            lists[path] = f"{folder}/snap-{number}-{run}.avro"
            written.append(lists[path])
            _write_list(storage, table, new, lists[path], manifests)
    version = re.match(r"v?(\d+)", table.path.rpartition("/")[2])
    target = f"{folder}/{int(version[1]) + 1 if version else 0:05d}-{run}.metadata.json"
    written.append(target)
    storage.write(target, json.dumps(_metadata(storage, table, lists)).encode())
    return target


def _write_deletes(storage: Storage, table: CopiedTable, source: str, target: str) -> int:
    """Writes a file of deleted positions for the new paths of the data files. Returns its size in bytes.

    All paths change in the same way, so the rows stay in order.
    """
    with storage.io.new_input(source).open() as stream:
        parquet = pq.ParquetFile(stream)
        schema = parquet.schema_arrow
        column = schema.get_field_index("file_path")
        if column < 0:
            raise CompactorError(f"{source} has no column file_path, so it is no file of deleted positions")
        groups = parquet.metadata.num_row_groups
        compression = parquet.metadata.row_group(0).column(column).compression.lower() if groups else "zstd"
        compression = {"uncompressed": "none"}.get(compression, compression)
        with (
            storage.io.new_output(target).create() as output,
            pq.ParquetWriter(output, schema, compression=compression, store_schema=False) as writer,
        ):
            for batch in parquet.iter_batches(_BATCH_ROWS):
                paths = batch.column(column).dictionary_encode()
                moved = pa.array([table.move.new(path) for path in paths.dictionary.to_pylist()], pa.string())
                new_paths = moved.take(paths.indices).cast(schema.field(column).type)
                writer.write_batch(batch.set_column(column, schema.field(column), new_paths))
            # Only Arrow's own schema is left out: it is of the file before.
            of_file = parquet.metadata.metadata or {}
            writer.add_key_value_metadata({key: of_file[key] for key in of_file if key != b"ARROW:schema"})
    size = storage.size(target)
    if size is None:
        raise CompactorError(f"{target} was written and is not there; run again")
    return size


def _write_manifest(
    storage: Storage, table: CopiedTable, source: str, target: str, deletes: Mapping[str, tuple[str, int]]
) -> int:
    """Writes a manifest for the new paths. Returns its size in bytes."""
    file = entries(storage, source)
    for entry in file.records:
        data_file = entry["data_file"]
        path = data_file["file_path"]
        data_file["file_path"] = table.move.new(path)
        if data_file.get("referenced_data_file") is not None:
            data_file["referenced_data_file"] = table.move.new(data_file["referenced_data_file"])
        if data_file.get("content", DATA) != POSITION_DELETES:
            continue
        _move_bounds(data_file, table)
        if path in deletes:
            data_file["file_path"], data_file["file_size_in_bytes"] = deletes[path]
            data_file["split_offsets"] = None  # of the file before
    return storage.write(target, avro.write(file))


def _move_bounds(data_file: dict[str, Any], table: CopiedTable) -> None:
    """Changes the least and the greatest path of a data file: engines skip a delete file by them.

    A bound that was cut short before the place ends says nothing about the new place: then there are no bounds.
    """
    bounds = [data_file[name] or [] for name in ("lower_bounds", "upper_bounds")]
    of_paths = [item for each in bounds for item in each if item["key"] == _PATH_OF_DELETE]
    if not all(table.move.is_old(_text(item["value"])) for item in of_paths):
        for name, each in zip(("lower_bounds", "upper_bounds"), bounds, strict=True):
            data_file[name] = [item for item in each if item["key"] != _PATH_OF_DELETE]
        return
    for item in of_paths:
        item["value"] = table.move.new(_text(item["value"])).encode()


def _text(bound: bytes) -> str:
    """A bound as text; none if it was cut within a character."""
    try:
        return bound.decode()
    except UnicodeDecodeError:
        return ""


def _write_list(
    storage: Storage, table: CopiedTable, source: str, target: str, manifests: Mapping[str, tuple[str, int]]
) -> None:
    file = entries(storage, source)
    for manifest in file.records:
        path = manifest["manifest_path"]
        new, size = manifests.get(path, (table.move.new(path), manifest["manifest_length"]))
        manifest["manifest_path"], manifest["manifest_length"] = new, size
    storage.write(target, avro.write(file))


def _metadata(storage: Storage, table: CopiedTable, lists: Mapping[str, str]) -> dict[str, Any]:
    """The content of the new metadata file. What this program does not know of it stays as it is."""
    old, new = table.metadata, table.move.new
    log = [{**each, "metadata-file": new(each["metadata-file"])} for each in old.get("metadata-log", [])]
    previous = {"timestamp-ms": old["last-updated-ms"], "metadata-file": table.path}
    return {
        **old,
        "location": new(table.location),
        "last-updated-ms": max(time.time_ns() // 1_000_000, old["last-updated-ms"] + 1),
        "properties": _moved(table, old.get("properties", {})),
        "snapshots": [_snapshot(each, table, lists) for each in table.snapshots],
        "metadata-log": [*(each for each in log if storage.size(each["metadata-file"]) is not None), previous],
        **{
            name: [{**each, "statistics-path": new(each["statistics-path"])} for each in old[name]]
            for name in STATISTICS
            if name in old
        },
    }


def _snapshot(snapshot: dict[str, Any], table: CopiedTable, lists: Mapping[str, str]) -> dict[str, Any]:
    """A snapshot whose summary names a commit intent names it at the new place."""
    moved = {**snapshot, "manifest-list": lists[snapshot["manifest-list"]]}
    return {**moved, "summary": _moved(table, snapshot["summary"])} if "summary" in snapshot else moved


def _moved(table: CopiedTable, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties, of which those that name a place name the new one."""
    return {name: table.move.new(value) if isinstance(value, str) else value for name, value in properties.items()}

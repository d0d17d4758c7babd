"""What a relocation does to single files: Avro files keep all that is not a path, and deletes keep their data files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import ManifestContent

from compactor.errors import CompactorError
from compactor.lake import avro, place, registration, relocated
from compactor.lake.copied import CopiedTable, Move, Storage, survey
from tests.support.warehouse import Warehouse, rows

PATH_OF_DELETE = 2147483546


def with_deletes(folder: Path, partition: str = "day") -> Warehouse:
    warehouse = Warehouse.in_folder(folder, partition)
    warehouse.append(rows(40))
    for file in warehouse.table.files[:3]:
        warehouse.delete_rows(file, [0])
    warehouse.append(rows(5, first=40))
    return warehouse


def manifests_of(warehouse: Warehouse) -> dict[str, bytes]:
    """All manifests and manifest lists, by path."""
    table = warehouse.iceberg
    paths = {snapshot.manifest_list for snapshot in table.metadata.snapshots}
    paths |= {each.manifest_path for snapshot in table.metadata.snapshots for each in snapshot.manifests(table.io)}
    return {path: Path(path.removeprefix("file://")).read_bytes() for path in sorted(paths)}


def relocated_to(folder: Path, move: Move) -> Warehouse:
    """The warehouse in a folder to which it was moved, with the metadata for that."""
    moved = Warehouse.reopened(folder)
    pointer = place.pointer(moved.catalog, "rover.fans")
    assert pointer is not None
    storage = Storage(moved.catalog, move.target)
    table = CopiedTable("fans", pointer, move.new(pointer), storage.read(move.new(pointer)), move)
    found = survey(storage, table)
    assert (found.problems, found.missing, found.differing) == ([], 0, 0)
    registration.swap(moved.catalog, "rover", table, storage, relocated.write(storage, table, found))
    return moved


@pytest.mark.parametrize("partition", ["none", "day", "bucket"])
def test_an_avro_file_that_is_read_and_written_is_the_same_to_the_byte(tmp_path: Path, partition: str) -> None:
    files = manifests_of(with_deletes(tmp_path, partition))
    assert len(files) >= 6
    for path, content in files.items():
        assert avro.write(avro.read(content)) == content, path


def test_fields_that_this_program_does_not_know_are_kept() -> None:
    """As of a later version of Iceberg: a list of optional records, a map, all primitive types, no compression."""
    inner = {"type": "record", "name": "r9", "fields": [{"name": "value", "type": ["null", "double"]}]}
    fields = [
        {"name": "on", "type": "boolean"},
        {"name": "small", "type": "float"},
        {"name": "word", "type": ["string", "null"]},
        {"name": "id", "type": {"type": "fixed", "name": "f16", "size": 4}},
        {"name": "again", "type": "f16"},
        {"name": "many", "type": {"type": "array", "items": ["null", inner]}},
        {"name": "named", "type": {"type": "map", "values": "long"}},
        {"name": "nothing", "type": "null"},
    ]
    schema = json.dumps({"type": "record", "name": "later", "fields": fields}).encode()
    record = {
        "on": True,
        "small": b"\0\0\x80?",
        "word": None,
        "id": b"abcd",
        "again": b"efgh",
        "many": [None, {"value": b"12345678"}, {"value": None}],
        "named": {"a": -1, "b": 2**62},
        "nothing": None,
    }
    file = avro.AvroFile(
        {"avro.schema": schema, "of another program": b"\xff"}, b"0123456789abcdef", [[record], [record]]
    )
    found = avro.read(avro.write(file))
    assert found == file


@pytest.mark.parametrize("damage", ["cut", "flipped", "other"])
def test_a_damaged_avro_file_is_refused(tmp_path: Path, damage: str) -> None:
    content = bytearray(next(iter(manifests_of(with_deletes(tmp_path, "none")).values())))
    if damage == "cut":
        content = content[:-20]
    elif damage == "flipped":
        content[-1] ^= 1
    else:
        content = bytearray(b"PAR1") + content
    with pytest.raises(CompactorError, match="an Avro file is damaged"):
        avro.read(bytes(content))


def test_deletes_name_the_data_files_of_the_new_place_in_the_file_and_in_its_bounds(tmp_path: Path) -> None:
    """Engines skip a delete file whose bounds say that it is about other data files: rows would come back."""
    (tmp_path / "old").mkdir()
    warehouse = with_deletes(tmp_path / "old")
    before = warehouse.by_arrow(["id"])
    (tmp_path / "old").rename(tmp_path / "new")
    move = Move(f"file://{tmp_path}/old", f"file://{tmp_path}/new")
    moved = relocated_to(tmp_path / "new", move)

    snapshot = moved.iceberg.current_snapshot()
    assert snapshot is not None
    deletes = [
        entry.data_file
        for manifest in snapshot.manifests(moved.iceberg.io)
        if manifest.content == ManifestContent.DELETES
        for entry in manifest.fetch_manifest_entry(moved.iceberg.io)
    ]
    assert len(deletes) == 3
    for file in deletes:
        data = Path(file.file_path.removeprefix("file://")).read_bytes()
        table = pq.read_table(io.BytesIO(data))
        named = set(table["file_path"].to_pylist())
        assert len(data) == file.file_size_in_bytes
        assert {file.lower_bounds[PATH_OF_DELETE].decode(), file.upper_bounds[PATH_OF_DELETE].decode()} == named
        assert named < {each.file_path for each in moved.table.files}
        assert pq.read_schema(io.BytesIO(data)).metadata[b"delete-type"] == b"position"
    assert moved.by_arrow(["id"]) == before
    assert [row["id"] for row in moved.by_duckdb()] == [row["id"] for row in before]


def test_of_two_places_of_which_one_is_in_the_other_the_inner_one_decides() -> None:
    inward, outward = Move("file:///a", "file:///a/b"), Move("file:///a/b", "file:///a")
    assert inward.new("file:///a/x") == "file:///a/b/x"
    assert inward.new("file:///a/b/x") == "file:///a/b/x"
    assert outward.new("file:///a/b/x") == "file:///a/x"
    assert outward.new("file:///a/x") == "file:///a/x"
    assert inward.new("file:///ab/x") == "file:///ab/x"


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("s3a://old/lake/t/x", "s3://new/lake/t/x"),
        ("s3://old/lake//t/x", "s3://new/lake//t/x"),
        ("s3://old/lakes/t/x", "s3://old/lakes/t/x"),
        ("s3://older/lake/t/x", "s3://older/lake/t/x"),
        ("s3://old/lake", "s3://new/lake"),
    ],
)
def test_paths_in_buckets_are_moved_by_whole_names(path: str, new: str) -> None:
    assert Move("s3://old/lake", "s3://new/lake").new(path) == new

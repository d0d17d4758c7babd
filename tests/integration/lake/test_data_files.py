"""What the writer of data files makes of a stream, and what a scan reads of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compactor.lake import content, data_writer, uploads
from compactor.lake.table import Table
from compactor.lake.uploads import LateFile
from tests.support.warehouse import Warehouse, by_id, rows


def batches(lake: Warehouse, count: int, days: int, size: int = 100) -> list[pa.RecordBatch]:
    """Rows of so many days, in the order of the days; the last has as many rows as all others."""
    schema = lake.table.schema
    made = []
    for number, row in enumerate(rows(count)):
        day = number * 2 * days // count if number < count // 2 else days
        made.append({**row, "id": f"fan-{number:07d}", "_day": day})
    found = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in made], schema)
    found = found.append_column(data_writer.PARTITION_COLUMN, pa.array([row["_day"] for row in made], pa.int32()))
    return list(found.to_batches(max_chunksize=size))


@pytest.fixture
def lake(tmp_path: Path) -> Warehouse:
    return Warehouse.in_folder(tmp_path, "day")


def test_rows_and_files_keep_the_order_of_the_stream_whatever_encodes_them(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_writer, "ROW_GROUP_ROWS", 70)
    given = batches(lake, 4000, 40)
    with lake.table.writer(target_bytes=20_000, bloom_columns=["id"]) as writer:
        files = writer.write_all(given)
    assert writer.rows == 4000
    assert len(files) > 42, "no partition has several files"
    assert [file.partition[0] for file in files] == sorted(file.partition[0] for file in files)
    read = [pq.read_table(file.file_path.removeprefix("file://")).column("id").to_pylist() for file in files]
    assert [id_ for ids in read for id_ in ids] == [f"fan-{number:07d}" for number in range(4000)]
    assert [len(ids) for ids in read] == [file.record_count for file in files]
    for file in files:
        path = Path(file.file_path.removeprefix("file://"))
        assert path.stat().st_size == file.file_size_in_bytes
        with path.open("rb") as stream:
            assert content.hash_of(stream) == content.attached(file)


def test_row_groups_have_at_most_so_many_rows_however_large_the_batches_are(
    lake: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_writer, "ROW_GROUP_ROWS", 300)
    with lake.table.writer(target_bytes=1 << 30, bloom_columns=[]) as writer:
        *_, last = writer.write_all(batches(lake, 2000, 1, size=2000))
    metadata = pq.ParquetFile(last.file_path.removeprefix("file://")).metadata
    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == [300, 300, 300, 100]


def test_unique_values_have_no_dictionary_and_repeated_ones_have(lake: Warehouse) -> None:
    with lake.table.writer(target_bytes=1 << 30, bloom_columns=["id"]) as writer:
        *_, file = writer.write_all(batches(lake, 2000, 1))
    group = pq.ParquetFile(file.file_path.removeprefix("file://")).metadata.row_group(0)
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}
    assert all(column.compression == "ZSTD" for column in columns.values())
    with_dictionary = {name for name, column in columns.items() if "RLE_DICTIONARY" in column.encodings}
    assert {"tier", "traits.key_value.key"} <= with_dictionary
    assert not with_dictionary & {"id", "updated_at", "visits"}


def test_partitions_are_encoded_two_at_a_time(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(2, timeout=30)
    as_stored = data_writer.DataFileWriter.as_stored

    def wait_for_the_other(writer: data_writer.DataFileWriter, rows: pa.Table) -> pa.Table:
        together.wait()
        return as_stored(writer, rows)

    monkeypatch.setattr(data_writer.DataFileWriter, "as_stored", wait_for_the_other)
    with lake.table.writer(target_bytes=1 << 30, bloom_columns=[]) as writer:
        assert len(writer.write_all(batches(lake, 200, 1))) == 2


def test_files_are_ended_while_others_are_encoded(lake: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are threads wait for one another: no encoder waits for the end of a file."""
    together = threading.Barrier(uploads.WIDTH, timeout=30)
    close = LateFile.close

    def wait_for_the_others(file: LateFile) -> None:
        if not file.closed:
            together.wait()
        close(file)

    monkeypatch.setattr(LateFile, "close", wait_for_the_others)
    with lake.table.writer(target_bytes=1 << 30, bloom_columns=[]) as writer:
        assert len(writer.write_all(batches(lake, 2 * uploads.WIDTH, uploads.WIDTH - 1))) == uploads.WIDTH


@pytest.mark.parametrize("failing", ["producer", "encoder", "open", "end"])
def test_a_failure_leaves_no_file_and_no_thread(
    lake: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    monkeypatch.setattr(data_writer, "ROW_GROUP_ROWS", 50)
    given = batches(lake, 4000, 40)

    def stream() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(given):
            if failing == "producer" and number == 30:
                raise LookupError(failing)
            yield batch

    calls = iter(range(10_000))

    def at_last(function: object) -> object:
        def run(*arguments: object, **options: object) -> object:
            if next(calls) == 40:
                raise LookupError(failing)
            return function(*arguments, **options)  # type: ignore[operator]

        return run

    place = {
        "encoder": (data_writer.DataFileWriter, "as_stored"),
        "open": (LateFile, "_pass_on"),
        "end": (LateFile, "close"),
    }
    if failing in place:
        owner, name = place[failing]
        monkeypatch.setattr(owner, name, at_last(getattr(owner, name)))
    before = set(threading.enumerate())
    with pytest.raises(LookupError, match=failing), lake.table.writer(target_bytes=9_000, bloom_columns=[]) as writer:
        writer.write_all(stream())
    monkeypatch.undo()
    assert list(tmp_path.rglob("*.parquet")) == []
    assert set(threading.enumerate()) <= before


def test_a_user_may_set_the_level_of_compression(tmp_path: Path) -> None:
    sizes = []
    for level in ("1", "19"):
        (tmp_path / level).mkdir()
        lake = Warehouse.in_folder(tmp_path / level, "none", {"write.parquet.compression-level": level})
        files = lake.write(lake.table, rows(5000))
        sizes.append(sum(file.file_size_in_bytes for file in files))
    assert sizes[1] < sizes[0]


def many_files(lake: Warehouse) -> Table:
    for number in range(4):
        lake.append(rows(100, first=100 * number), commit_id=f"night {number}")
    assert len(lake.table.files) == 40
    return lake.table


def test_a_scan_of_many_files_keeps_their_order_and_says_which_a_row_is_of(lake: Warehouse) -> None:
    table = many_files(lake)
    scan = table.scan(["id"], with_file=True)
    found = scan.batches.read_all()
    numbers = found.column("__file").to_pylist()
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 40
    expected = [
        (number, id_)
        for number, file in enumerate(scan.files)
        for id_ in pq.read_table(file.file_path.removeprefix("file://")).column("id").to_pylist()
    ]
    assert list(zip(numbers, found.column("id").to_pylist(), strict=True)) == expected


def test_a_scan_that_is_left_early_ends(lake: Warehouse) -> None:
    before = set(threading.enumerate())
    reader = many_files(lake).scan(["id"]).batches
    assert reader.read_next_batch().num_rows
    del reader
    assert {thread for thread in set(threading.enumerate()) - before if "scan" in thread.name} == set()


def test_one_file_is_streamed_with_chosen_columns_and_without_deleted_rows(lake: Warehouse) -> None:
    lake.append(rows(300))
    file = lake.table.files[0]
    stored = pq.read_table(file.file_path.removeprefix("file://"))
    lake.delete_rows(file, [0, 3])
    found = lake.table.stream(file, ["visits", "id"]).read_all()
    assert found.schema.names == ["visits", "id"]
    kept = [number for number in range(stored.num_rows) if number not in (0, 3)]
    assert found.column("id").to_pylist() == stored.column("id").take(kept).to_pylist()
    assert found.column("visits").to_pylist() == stored.column("visits").take(kept).to_pylist()
    assert [row["id"] for row in by_id(lake.table.stream(file).read_all().to_pylist())] == found.column(
        "id"
    ).to_pylist()

"""Data files written again with other columns: what they keep, leave out and cost."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compactor.errors import ConflictError, UsageError
from compactor.lake import data_writer
from compactor.lake.rewrite import rewrite
from compactor.lake.schema_change import TargetColumn, evolved_schema
from compactor.lake.table_changes import change_columns
from tests.support.evolving import PARSE, RENAMED, RETYPED, by_sql, parsed, renamed, reshape, rewritten
from tests.support.warehouse import COLUMNS, Warehouse, columns, in_file, new, rows


@pytest.mark.parametrize("partition", ["none", "day", "month", "bucket"])
def test_a_rewrite_keeps_partition_order_statistics_and_bloom_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: str
) -> None:
    monkeypatch.setattr(data_writer, "ROW_GROUP_BYTES", 4_000)
    lake = Warehouse.in_folder(tmp_path, partition)
    lake.append(rows(2000))
    lake.append(rows(2000, 2000), "more")
    table = lake.table
    old_files, calls = table.files, []
    schema = evolved_schema(table, RETYPED)

    with duckdb.connect() as con:
        added = rewritten(
            table, schema, by_sql(con, PARSE), on_progress=lambda files, done: calls.append((files, done))
        )
    assert [(file.partition, file.record_count, file.sort_order_id) for file in added] == [
        (file.partition, file.record_count, file.sort_order_id) for file in old_files
    ]
    assert calls == sorted(calls)
    assert calls[-1] == (len(old_files), 4000)
    snapshot = change_columns(
        table, schema, added, old_files, properties={}, summary={"compactor.verb": "migrate"}, commit_id="retype"
    )

    table = lake.table
    assert table.snapshot_id == snapshot
    found = table.find("retype")
    assert found is not None
    assert (found.schema_id, found.summary and found.summary["compactor.verb"]) == (table.schema_id, "migrate")
    expected = [parsed(row) for row in rows(4000)]
    assert lake.by_arrow() == expected
    assert lake.by_duckdb() == expected
    fields = {field.field_id: field.name for field in schema.fields}
    for file in table.files:
        keys = in_file(table, file, table.sort_columns)
        assert keys == sorted(keys)
        path = file.file_path.removeprefix("file://")
        assert pq.ParquetFile(path).metadata.num_row_groups > 1 or partition != "none"
        sql = "SELECT DISTINCT path_in_schema FROM parquet_metadata(?) WHERE bloom_filter_offset IS NOT NULL"
        assert duckdb.execute(sql, [path]).fetchall() == [("id",)]
        for of_column in (file.lower_bounds, file.upper_bounds):
            assert {fields[field] for field in of_column} == {name for name, _, _ in COLUMNS} - {"traits"}
    newest = max(row["updated_at"] for row in rows(4000))
    assert table.upper_bound("updated_at") == newest


def test_a_date_of_another_engine_that_python_cannot_hold_is_carried_without_bounds(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path)
    table = lake.table
    given = pa.Table.from_pylist(rows(3), table.schema)
    place = given.schema.get_field_index("updated_at")
    times = pa.array([0, 1, 300_000 * 365 * 86_400_000_000 // 10], pa.int64()).cast(given.schema.field(place).type)
    with table.writer(target_bytes=1 << 30, bloom_columns=[]) as writer:
        (file,) = writer.write_all(given.set_column(place, given.schema.field(place), times).to_batches())
    table.commit([file], [], {}, commit_id="foreign")
    names = {field.field_id: field.name for field in table.iceberg_schema.fields}
    assert {names[field] for field in file.upper_bounds} == {"id", "tier", "spend", "joined_at", "visits"}
    assert lake.table.upper_bound("updated_at") is None
    found = lake.table.scan(["updated_at"]).batches.read_all().column("updated_at").cast(pa.int64()).to_pylist()
    assert found == times.cast(pa.int64()).to_pylist()


def test_a_file_whose_rows_all_go_gives_no_file(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path, "day")
    lake.append(rows(100))
    table = lake.table
    schema = evolved_schema(table, RETYPED)
    with duckdb.connect() as con:
        added = rewritten(table, schema, by_sql(con, PARSE + " WHERE dayname(updated_at) <> 'Sunday'"))
    assert (len(table.files), len(added)) == (10, 8)
    change_columns(table, schema, added, table.files, properties={}, summary={}, commit_id="fewer")
    assert lake.by_arrow() == [parsed(row) for row in rows(100) if row["updated_at"].isoweekday() != 7]


def test_a_rewrite_leaves_out_what_another_engine_deleted_and_follows_changes_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_writer, "ROW_GROUP_BYTES", 4_000)
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(3000))
    (file,) = lake.table.files
    positions = [0, 2, 999, 1000, 2500, 2999]
    ids = in_file(lake.table, file, ["id"])
    gone = {ids[position][0] for position in positions}
    lake.delete_rows(file, positions)
    reshape(lake.table, RENAMED, "in place")
    table = lake.table
    kept = [
        TargetColumn(each.name, each.type, each.required, each.name) for each in RENAMED if each.name != "joined_at"
    ]
    schema = evolved_schema(table, [*kept, new("joined_at", "timestamp")])
    with duckdb.connect() as con:
        added = rewritten(table, schema, by_sql(con, PARSE))
    change_columns(table, schema, added, table.files, properties={}, summary={}, commit_id="retype")
    expected = [renamed(parsed(row)) for row in rows(3000) if row["id"] not in gone]
    assert len(expected) == 2994
    assert lake.by_arrow() == lake.by_duckdb() == expected


def test_a_rewrite_that_fails_leaves_no_file_behind(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path, "day")
    lake.append(rows(100))
    table, before = lake.table, sorted(tmp_path.rglob("*.parquet"))
    calls = 0

    def breaks(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ValueError("in the third file")
        return reader

    with pytest.raises(ValueError, match="third"):
        rewritten(table, table.iceberg_schema, breaks)
    assert sorted(tmp_path.rglob("*.parquet")) == before
    schema = evolved_schema(table, columns(tier=new("tier", "string", required=True)), rewritten=True)
    with pytest.raises(UsageError, match=r"column 'tier' of table .* is required, and .* rows to write have no value"):
        rewritten(table, schema, lambda reader: reader)
    assert sorted(tmp_path.rglob("*.parquet")) == before


def test_a_file_that_is_no_longer_in_the_table_is_not_rewritten(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(10))
    old = lake.table.files
    lake.table.commit([], old, {}, commit_id="emptied")
    with pytest.raises(ConflictError, match="no longer in the table"):
        rewrite(
            lake.table,
            lake.table.iceberg_schema,
            old,
            lambda reader: reader,
            target_bytes=1 << 30,
            bloom_columns=[],
            on_progress=lambda _files, _rows: None,
        )


@pytest.mark.soak
def test_memory_of_a_rewrite_does_not_grow_with_the_file_and_a_change_in_place_takes_no_time(tmp_path: Path) -> None:
    made = (
        "SELECT 'fan-' || lpad(i::VARCHAR, 9, '0') || hash(i)::VARCHAR AS id, TIMESTAMPTZ '2026-11-01' + to_seconds(i)"
        " AS updated_at, 'gold' AS tier, (i % 1000)::DECIMAL(9,2) AS spend, '2025-01-01' AS joined_at,"
        " MAP {'city': hash(i + 1)::VARCHAR} AS traits, i AS visits FROM range(5000000) t(i)"
    )
    lake = Warehouse.in_folder(tmp_path)
    with duckdb.connect() as con, lake.table.writer(target_bytes=1 << 40, bloom_columns=["id"]) as writer:
        con.execute("SET TimeZone = 'UTC'")
        files = writer.write_all(con.execute(made).to_arrow_reader(8192))
    assert len(files) == 1
    lake.table.commit(files, [], {}, commit_id="made")
    began = time.monotonic()
    reshape(lake.table, RENAMED)
    assert time.monotonic() - began < 5

    kept = [
        TargetColumn(each.name, each.type, each.required, each.name) for each in RENAMED if each.name != "joined_at"
    ]
    schema = evolved_schema(lake.table, [*kept, new("joined_at", "timestamp")])
    before, early, peak = resident_mb(), 0.0, 0.0

    def watch(_files: int, done: int) -> None:
        nonlocal early, peak
        peak = max(peak, resident_mb())
        if done <= 1_500_000:
            early = peak

    with duckdb.connect(config={"memory_limit": "512MB", "threads": 2}) as con:
        added = rewritten(lake.table, schema, by_sql(con, PARSE), on_progress=watch)
    logging.getLogger(__name__).info("MB: %.0f before, %.0f early, %.0f at most", before, early, peak)
    assert sum(file.record_count for file in added) == 5_000_000
    assert peak < early * 1.2


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

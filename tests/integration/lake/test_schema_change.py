"""Columns changed in place or by a rewrite: what engines read before, after, and after going back."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from compactor.errors import CompactorError, ConflictError, UsageError
from compactor.lake import parquet
from compactor.lake.rewrite import rewrite
from compactor.lake.schema_change import TargetColumn, evolved_schema
from compactor.lake.table import DataFile, Schema, Table
from compactor.lake.table_changes import CHANGE_ID, change_columns, roll_back, tag
from tests.support.warehouse import COLUMNS, Row, Warehouse, columns, in_file, new, paths, rows

RENAMED = columns(
    visits=TargetColumn("visits", "long", False, "visits"),  # no longer required
    tier=TargetColumn("level", "string", False, "tier"),
    spend=TargetColumn("spend", "decimal(12,2)", False, "spend"),
    score=new("score", "double"),
    device=new("device", "map"),
)
RETYPED = columns(joined_at=new("joined_at", "timestamp"))


def reshape(
    table: Table,
    target: list[TargetColumn],
    commit_id: str = "change",
    *,
    add: list[DataFile] | None = None,
    remove: list[DataFile] | None = None,
    **properties: str | None,
) -> int | None:
    return change_columns(
        table,
        evolved_schema(table, target),
        add or [],
        remove or [],
        properties=properties,
        summary={"compactor.verb": "migrate"},
        commit_id=commit_id,
    )


def renamed(row: Row) -> Row:
    changed = {"level" if name == "tier" else name: value for name, value in row.items()}
    return {**changed, "score": None, "device": None}


def parsed(row: Row) -> Row:
    day = row["joined_at"] and datetime.fromisoformat(row["joined_at"]).replace(tzinfo=UTC)
    return {**row, "joined_at": day}


def by_sql(con: duckdb.DuckDBPyConnection, sql: str) -> Callable[[pa.RecordBatchReader], pa.RecordBatchReader]:
    def transform(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        con.execute("SET preserve_insertion_order = true")
        con.execute("SET TimeZone = 'UTC'")
        con.register("old", reader)
        return con.execute(sql).to_arrow_reader(1000)

    return transform


PARSE = "SELECT * REPLACE (CAST(joined_at AS TIMESTAMPTZ) AS joined_at) FROM old"


def rewritten(
    table: Table, schema: Schema, transform: Callable[[pa.RecordBatchReader], pa.RecordBatchReader], **options: Any
) -> list[DataFile]:
    given: dict[str, Any] = {
        "target_bytes": 1 << 30,
        "bloom_columns": ["id"],
        "on_progress": lambda _files, _rows: None,
    }
    return rewrite(table, schema, table.files, transform, **{**given, **options})


def test_a_change_in_place_rewrites_no_file_and_every_reader_sees_the_new_columns(tmp_path: Path) -> None:
    bloom = "write.parquet.bloom-filter-enabled.column."
    lake = Warehouse.in_folder(tmp_path, "day", {f"{bloom}tier": "true", f"{bloom}id": "true", "gone": "1"})
    lake.append(rows(100))
    before, snapshot = paths(lake.table), lake.table.snapshot_id

    assert reshape(lake.table, RENAMED, "rename", gone=None, kept="2") is None

    table = lake.table
    assert (paths(table), table.snapshot_id) == (before, snapshot)
    assert table.schema.names == [column.name for column in RENAMED]
    due = [renamed(row) for row in rows(100)]
    assert lake.by_arrow() == due
    assert lake.by_duckdb() == due
    assert lake.by_arrow(["score", "device"]) == [{"score": None, "device": None}] * 100
    assert lake.by_arrow(where={"level": "gold"}) == [row for row in due if row["level"] == "gold"]
    assert (table.properties[CHANGE_ID], table.properties["kept"]) == ("rename", "2")
    assert {name for name in table.properties if name.startswith(bloom)} == {f"{bloom}level", f"{bloom}id"}
    assert "gone" not in table.properties

    more = {**renamed(rows(1, 100)[0]), "score": 0.5, "device": {"os": "iOS"}, "visits": None}
    more["spend"] = Decimal("1234567890.12")
    lake.append([more], "after")
    assert lake.by_arrow() == [*due, more]
    assert lake.by_duckdb() == [*due, more]


def test_a_column_dropped_and_added_under_its_name_is_empty_and_the_tag_shows_the_old_one(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path, "month")
    snapshot = lake.append(rows(50))
    assert tag(lake.table, "before") == snapshot
    assert tag(lake.table, "before") == snapshot
    old_id = lake.table.iceberg_schema.find_field("joined_at").field_id

    reshape(lake.table, RETYPED)

    table = lake.table
    assert table.iceberg_schema.find_field("joined_at").field_id > old_id
    assert table.schema.field("joined_at").type == pa.timestamp("us", "UTC")
    due = [{**row, "joined_at": None} for row in rows(50)]
    assert lake.by_arrow() == due
    assert lake.by_duckdb() == due
    assert table.tagged("before") == snapshot
    assert table.at(snapshot).schema.field("joined_at").type == pa.string()
    assert lake.by_arrow(snapshot_id=snapshot) == rows(50)
    one = {"joined_at": "2025-02-02"}
    assert lake.by_arrow(where=one, snapshot_id=snapshot) == [row for row in rows(50) if one.items() <= row.items()]
    assert lake.by_duckdb(snapshot) == rows(50)


@pytest.mark.parametrize("partition", ["none", "day", "month", "bucket"])
def test_a_rewrite_keeps_partition_order_statistics_and_bloom_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: str
) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 4_000)
    lake = Warehouse.in_folder(tmp_path, partition)
    lake.append(rows(2000))
    lake.append(rows(2000, 2000), "more")
    table = lake.table
    old_files, told = table.files, []
    schema = evolved_schema(table, RETYPED)

    with duckdb.connect() as con:
        added = rewritten(table, schema, by_sql(con, PARSE), on_progress=lambda files, done: told.append((files, done)))
    assert [(file.partition, file.record_count, file.sort_order_id) for file in added] == [
        (file.partition, file.record_count, file.sort_order_id) for file in old_files
    ]
    assert told == sorted(told)
    assert told[-1] == (len(old_files), 4000)
    snapshot = change_columns(
        table, schema, added, old_files, properties={}, summary={"compactor.verb": "migrate"}, commit_id="retype"
    )

    table = lake.table
    assert table.snapshot_id == snapshot
    found = table.find("retype")
    assert found is not None
    assert (found.schema_id, found.summary and found.summary["compactor.verb"]) == (table.schema_id, "migrate")
    due = [parsed(row) for row in rows(4000)]
    assert lake.by_arrow() == due
    assert lake.by_duckdb() == due
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
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 4_000)
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
    due = [renamed(parsed(row)) for row in rows(3000) if row["id"] not in gone]
    assert len(due) == 2994
    assert lake.by_arrow() == lake.by_duckdb() == due


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
    with pytest.raises(ValueError, match="null values to non-nullable"):
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


@pytest.mark.parametrize("what", ["columns", "columns and files", "tag", "roll back"])
def test_a_commit_in_between_is_a_conflict_and_nothing_changes(tmp_path: Path, what: str) -> None:
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(10))
    tag(lake.table, "before")
    schema_id = lake.table.schema_id
    table = lake.table
    files = lake.write(table, rows(10, 20))
    steps: dict[str, Callable[[], Any]] = {
        "columns": lambda: reshape(table, RENAMED),
        "columns and files": lambda: reshape(table, RENAMED, add=files),
        "tag": lambda: tag(table, "late"),
        "roll back": lambda: roll_back(table, "before", schema_id=schema_id, properties={}, commit_id="back"),
    }
    lake.append(rows(10, 10), "in between")
    after, kept = lake.table.metadata_location, paths(lake.table)

    with pytest.raises(ConflictError, match="another writer committed first"):
        steps[what]()
    assert (lake.table.metadata_location, paths(lake.table)) == (after, kept)


def test_a_writer_under_way_with_the_old_columns_conflicts(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(10))
    table, other = lake.table, lake.table
    files = lake.write(table, rows(10, 10))
    reshape(lake.table, RENAMED)
    with pytest.raises(ConflictError):
        table.commit(files, [], {}, commit_id="late")
    with pytest.raises(ConflictError):
        reshape(other, RETYPED, "late too")
    assert lake.by_arrow() == [renamed(row) for row in rows(10)]


@pytest.mark.parametrize("error", [CommitFailedException("its own echo"), OSError("lost")])
@pytest.mark.parametrize("landed", [True, False])
def test_a_lost_answer_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, *, landed: bool
) -> None:
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(10))
    schema_id = lake.table.schema_id
    commit_table = SqlCatalog.commit_table

    def answer_lost(*arguments: Any) -> Any:
        if landed:
            commit_table(*arguments)
        raise error

    def act(step: Callable[[], Any]) -> Any:
        if landed:
            return step()
        with pytest.raises(ConflictError if isinstance(error, CommitFailedException) else CompactorError):
            step()
        return None

    monkeypatch.setattr(SqlCatalog, "commit_table", answer_lost)
    tagged = act(lambda: tag(lake.table, "before"))
    assert tagged == lake.table.tagged("before") == (lake.table.snapshot_id if landed else None)
    act(lambda: reshape(lake.table, RENAMED))
    assert ("level" in lake.table.schema.names) == landed
    if landed:
        files = lake.write(lake.table, [renamed(row) for row in rows(1, 10)])
        same = [TargetColumn(column.name, column.type, column.required, column.name) for column in RENAMED]
        assert reshape(lake.table, same, "more", add=files) == lake.table.snapshot_id
        assert len(lake.by_arrow()) == 11
        roll_back(lake.table, "before", schema_id=schema_id, properties={}, commit_id="back")
        assert lake.by_arrow() == rows(10)


def test_rolling_back_restores_columns_and_rows_and_work_goes_on(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path, "day", {"write.metadata.metrics.column.tier": "full"})
    snapshot = lake.append(rows(100))
    schema_id = lake.table.schema_id
    tag(lake.table, "before")
    ids = set(lake.table.iceberg_schema.field_ids)
    for attempt in range(3):
        table = lake.table
        schema = evolved_schema(table, [*RENAMED[:4], new("joined_at", "timestamp"), *RENAMED[5:]])
        fresh = schema.field_ids - set(range(1, 10))
        assert len(fresh) == 5
        assert not fresh & ids  # no id is used a second time
        ids |= fresh
        with duckdb.connect() as con:
            added_columns = "NULL::DOUBLE AS score, NULL::MAP(VARCHAR, VARCHAR) AS device"
            sql = f"SELECT * RENAME (tier AS level), {added_columns} FROM ({PARSE})"
            added = rewritten(table, schema, by_sql(con, sql))
        change_columns(table, schema, added, table.files, properties={"v": "2"}, summary={}, commit_id=f"up {attempt}")
        lake.append([renamed(parsed(row)) for row in rows(10, 100)], f"used {attempt}")
        assert lake.by_arrow() == [renamed(parsed(row)) for row in rows(110)]
        assert lake.table.properties["write.metadata.metrics.column.level"] == "full"

        roll_back(lake.table, "before", schema_id=schema_id, properties={"v": None}, commit_id=f"down {attempt}")

        table = lake.table
        assert (table.snapshot_id, table.schema_id) == (snapshot, schema_id)
        assert "v" not in table.properties
        assert table.properties["write.metadata.metrics.column.tier"] == "full"
        assert lake.by_arrow() == rows(100)
        assert lake.by_duckdb() == rows(100)
    lake.append(rows(10, 100), "after")
    assert lake.by_arrow() == rows(110)
    assert lake.by_duckdb() == rows(110)
    assert lake.by_arrow(snapshot_id=snapshot) == rows(100)


def test_a_schema_that_the_table_has_had_keeps_its_id(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(10))
    first = lake.table.schema_id
    there = columns(tier=TargetColumn("level", "string", False, "tier"))
    back = columns(tier=TargetColumn("tier", "string", False, "level"))
    seen = [first]
    for number in range(2):
        reshape(lake.table, there, f"there {number}")
        seen.append(lake.table.schema_id)
        reshape(lake.table, back, f"back {number}")
        seen.append(lake.table.schema_id)
    assert seen == [first, first + 1, first, first + 1, first]
    reshape(lake.table, columns(), "nothing")
    assert len(lake.iceberg.metadata.schemas) == 2
    assert lake.by_arrow() == rows(10)


def test_a_table_without_rows_is_changed_and_rolled_back_to_none(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path, "day")
    schema_id = lake.table.schema_id
    assert tag(lake.table, "before") is None
    assert tag(lake.table, "before") is None
    assert reshape(lake.table, RENAMED) is None
    assert lake.table.snapshot_id is None
    lake.append([renamed(row) for row in rows(10)])
    with pytest.raises(UsageError, match="on another snapshot"):
        tag(lake.table, "before")

    roll_back(lake.table, "before", schema_id=schema_id, properties={}, commit_id="back")

    assert (lake.table.snapshot_id, lake.table.schema_id) == (None, schema_id)
    assert (lake.by_arrow(), lake.by_duckdb()) == ([], [])
    lake.append(rows(10), "again")
    assert lake.by_arrow() == lake.by_duckdb() == rows(10)


def test_a_tag_or_schema_that_is_not_there_is_refused(tmp_path: Path) -> None:
    lake = Warehouse.in_folder(tmp_path)
    lake.append(rows(10))
    tag(lake.table, "before")
    lake.append(rows(10, 10), "more")
    with pytest.raises(UsageError, match="has no tag 'befor'"):
        roll_back(lake.table, "befor", schema_id=lake.table.schema_id, properties={}, commit_id="back")
    with pytest.raises(UsageError, match="has no schema 7"):
        roll_back(lake.table, "before", schema_id=7, properties={}, commit_id="back")
    with pytest.raises(UsageError, match="on another snapshot"):
        tag(lake.table, "before")
    with pytest.raises(CompactorError, match="no longer kept"):
        lake.table.scan(["id"], snapshot_id=1)
    assert lake.by_arrow() == rows(20)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (columns(spend=TargetColumn("spend", "decimal(12,3)", False, "spend")), "cannot become a decimal(12, 3) in pl"),
        (columns(spend=TargetColumn("spend", "decimal(8,2)", False, "spend")), "cannot become a decimal(8, 2) in pl"),
        (columns(visits=TargetColumn("visits", "string", True, "visits")), "cannot become a string in place"),
        (columns(visits=TargetColumn("visits", "double", True, "visits")), "cannot become a double in place"),
        (columns(joined_at=TargetColumn("joined_at", "date", False, "joined_at")), "cannot become a date in place"),
        (columns(traits=TargetColumn("traits", "string", False, "traits")), "cannot become a string in place"),
        (columns(tier=TargetColumn("tier", "map", False, "tier")), "cannot become a map<string, string> in place"),
        (columns(tier=TargetColumn("tier", "string", True, "tier")), "cannot become required in place"),
        (columns(extra=new("extra", "long", required=True)), "is new and required"),
        (columns(updated_at=None), "'updated_at' partitions the table"),
        (columns(updated_at=new("updated_at", "date")), "'updated_at' partitions the table"),
        (columns(visits=None), "'visits' sorts the table"),
        (columns(id=new("id", "long")), "'id' is an identifier field"),
        (columns(id=TargetColumn("id", "string", False, "id")), "'id' is an identifier field"),
        (columns(extra=new("tier", "long")), "'tier' is a duplicate"),
        (columns(extra=TargetColumn("extra", "string", False, "tier")), "has the source 'tier', as another has"),
        (columns(extra=TargetColumn("extra", "string", False, "nothing")), "'nothing', which is not a column"),
        (columns(extra=new("updated_at_day", "long")), "has the name of a partition field"),
        (columns(extra=new("Extra", "long")), "has a name that not all engines accept"),
        (columns(extra=new("1st", "long")), "has a name that not all engines accept"),
        (columns(extra=new("x" * 256, "long")), "has a name that not all engines accept"),
        (columns(extra=new("", "long")), "has a name that not all engines accept"),
    ],
)
def test_a_change_that_would_be_read_wrong_is_refused(
    partitioned: Warehouse, target: list[TargetColumn], reason: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        evolved_schema(partitioned.table, target)


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    return Warehouse.in_folder(tmp_path_factory.mktemp("refused"), "day", sort=("updated_at", "visits"))


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

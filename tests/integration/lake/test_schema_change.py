"""Columns changed in place: what engines read before, after, and after a rollback."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from compactor.errors import CompactorError, ConflictError, UsageError
from compactor.lake.schema_change import TargetColumn, evolved_schema
from compactor.lake.table_changes import CHANGE_ID, change_columns, roll_back, tag
from compactor.types.field_type import DATE, DOUBLE, MAP, STRING, decimal
from tests.support.evolving import PARSE, RENAMED, RETYPED, by_sql, parsed, renamed, reshape, rewritten
from tests.support.warehouse import Warehouse, columns, new, paths, rows


def test_a_change_in_place_rewrites_no_file_and_every_reader_sees_the_new_columns(tmp_path: Path) -> None:
    bloom = "write.parquet.bloom-filter-enabled.column."
    lake = Warehouse.in_folder(tmp_path, "day", {f"{bloom}tier": "true", f"{bloom}id": "true", "gone": "1"})
    lake.append(rows(100))
    before, snapshot = paths(lake.table), lake.table.snapshot_id

    assert reshape(lake.table, RENAMED, "rename", gone=None, kept="2") is None

    table = lake.table
    assert (paths(table), table.snapshot_id) == (before, snapshot)
    assert table.schema.names == [column.name for column in RENAMED]
    expected = [renamed(row) for row in rows(100)]
    assert lake.by_arrow() == expected
    assert lake.by_duckdb() == expected
    assert lake.by_arrow(["score", "device"]) == [{"score": None, "device": None}] * 100
    assert lake.by_arrow(where={"level": "gold"}) == [row for row in expected if row["level"] == "gold"]
    assert (table.properties[CHANGE_ID], table.properties["kept"]) == ("rename", "2")
    assert {name for name in table.properties if name.startswith(bloom)} == {f"{bloom}level", f"{bloom}id"}
    assert "gone" not in table.properties

    more = {**renamed(rows(1, 100)[0]), "score": 0.5, "device": {"os": "iOS"}, "visits": None}
    more["spend"] = Decimal("1234567890.12")
    lake.append([more], "after")
    assert lake.by_arrow() == [*expected, more]
    assert lake.by_duckdb() == [*expected, more]


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
    expected = [{**row, "joined_at": None} for row in rows(50)]
    assert lake.by_arrow() == expected
    assert lake.by_duckdb() == expected
    assert table.tagged("before") == snapshot
    assert table.at(snapshot).schema.field("joined_at").type == pa.string()
    assert lake.by_arrow(snapshot_id=snapshot) == rows(50)
    one = {"joined_at": "2025-02-02"}
    assert lake.by_arrow(where=one, snapshot_id=snapshot) == [row for row in rows(50) if one.items() <= row.items()]
    assert lake.by_duckdb(snapshot) == rows(50)


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


def test_rolling_back_restores_columns_and_rows_and_work_continues(tmp_path: Path) -> None:
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
    there = columns(tier=TargetColumn("level", STRING, False, "tier"))
    back = columns(tier=TargetColumn("tier", STRING, False, "level"))
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
        (
            columns(spend=TargetColumn("spend", decimal(12, 3), False, "spend")),
            "cannot become a decimal(12, 3) in pl",
        ),
        (
            columns(spend=TargetColumn("spend", decimal(8, 2), False, "spend")),
            "cannot become a decimal(8, 2) in pl",
        ),
        (columns(visits=TargetColumn("visits", STRING, True, "visits")), "cannot become a string in place"),
        (columns(visits=TargetColumn("visits", DOUBLE, True, "visits")), "cannot become a double in place"),
        (
            columns(joined_at=TargetColumn("joined_at", DATE, False, "joined_at")),
            "cannot become a date in place",
        ),
        (columns(traits=TargetColumn("traits", STRING, False, "traits")), "cannot become a string in place"),
        (
            columns(tier=TargetColumn("tier", MAP, False, "tier")),
            "cannot become a map<string, string> in place",
        ),
        (columns(tier=TargetColumn("tier", STRING, True, "tier")), "cannot become required in place"),
        (columns(extra=new("extra", "long", required=True)), "is new and required"),
        (columns(updated_at=None), "'updated_at' partitions the table"),
        (columns(updated_at=new("updated_at", "date")), "'updated_at' partitions the table"),
        (columns(visits=None), "'visits' sorts the table"),
        (columns(id=new("id", "long")), "'id' is an identifier field"),
        (columns(id=TargetColumn("id", STRING, False, "id")), "'id' is an identifier field"),
        (columns(extra=new("tier", "long")), "'tier' is a duplicate"),
        (columns(extra=TargetColumn("extra", STRING, False, "tier")), "has the source 'tier', as another has"),
        (columns(extra=TargetColumn("extra", STRING, False, "nothing")), "'nothing', which is not a column"),
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

"""Every engine reads every value that `compact` wrote: odd texts, odd times, nulls, maps, updates and deletes."""

from __future__ import annotations

import re

from compactor.lake.own_tables import OWN_TABLES
from tests.engines.conftest import Check
from tests.engines.engines import Engine
from tests.engines.lakes import ODD_TEXTS, ODD_TIMES, OddLake
from tests.engines.readers import Text
from tests.engines.results import Condition
from tests.engines.same import assert_all_same, assert_same_rows
from tests.support.model import parse_timestamp

KINDS = ("string", "long", "timestamp", "double", "decimal", "boolean", "date", "map")
SPARK = ("string", "bigint", "timestamp", "double", "decimal(18,4)", "boolean", "date", "map<string,string>")
TYPES = {
    "trino": (
        *("varchar", "bigint", "timestamp(6) with time zone", "double", "decimal(18, 4)", "boolean", "date"),
        "map(varchar, varchar)",
    ),
    "spark35": SPARK,
    "spark41": SPARK,
    "sail": SPARK,
    "duckdb": (
        *("VARCHAR", "BIGINT", "TIMESTAMP WITH TIME ZONE", "DOUBLE", "DECIMAL(18,4)", "BOOLEAN", "DATE"),
        "MAP(VARCHAR, VARCHAR)",
    ),
    "pyiceberg": (
        *("string", "long", "timestamptz", "double", "decimal(18, 4)", "boolean", "date"),
        "map<string, string>",
    ),
    "polars": (
        *("String", "Int64", "Datetime(time_unit='us', time_zone='UTC')", "Float64", "Decimal(precision=18, scale=4)"),
        *("Boolean", "Date", "Map(String, String)"),
    ),
    "chdb": (
        *("String", "Int64", "DateTime64(6, 'UTC')", "Float64", "Decimal(18, 4)", "Bool", "Date32"),
        "Map(String, Nullable(String))",
    ),
    "daft": (
        *("String", "Int64", "Timestamp[us; UTC]", "Float64", "Decimal[precision: 18, scale: 4]", "Bool", "Date"),
        "Map[String: String]",
    ),
}
"""Engine -> its names of KINDS."""
COLUMNS = {
    "id": "string",
    "version": "long",
    "emitted_at": "timestamp",
    "visit": "string",
    "visited_at": "timestamp",
    "seat": "long",
    "share": "double",
    "price": "decimal",
    "member": "boolean",
    "born": "date",
    "traits": "map",
    "loyalty_tier": "string",
    "gate": "long",
    "extra": "map",
    "source_file": "string",
    "source_line": "long",
}


def test_every_row_and_every_value_is_read(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader = engine.open(odd_lake)
    own = {name: len(odd_lake.rows(name)) for name in OWN_TABLES}
    with check("values"):
        for table, count in own.items():
            assert len(reader.rows(table).rows) == count, table
        assert_all_same((table, reader.rows(table), odd_lake.expected(table)) for table in odd_lake.record_tables)


def test_types_have_the_names_that_are_documented(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    with check("types"):
        found = engine.open(odd_lake).rows("visits", [Condition("visit", "=", "nulls")])
        # ClickHouse has its own word for a column that may be NULL.
        types = [re.sub(r"^Nullable\((.*)\)$", r"\1", kind) for kind in found.types]
        assert dict(zip(found.names, types, strict=True)) == {
            column: TYPES[engine.key][KINDS.index(kind)] for column, kind in COLUMNS.items()
        }


def test_count_min_and_max_of_each_column_are_right(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    expected = odd_lake.expected("visits_history")
    reader = engine.open(odd_lake)
    with check("extremes"):
        for column, kind in COLUMNS.items():
            if kind in ("map", "boolean") or column.startswith("source_"):
                continue
            values = [row[column] for row in expected if row[column] is not None]
            assert reader.extremes("visits_history", column) == (len(values), min(values), max(values)), column


def test_rows_are_found_by_odd_texts(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader = engine.open(odd_lake)
    with check("unicode"):
        for number, text in enumerate(ODD_TEXTS):
            found = reader.rows("visits", [Condition("loyalty_tier", "=", text)]).dicts
            assert [row["gate"] for row in found] == [number], repr(text[:20])


def test_what_is_null_or_empty_is_read_as_that(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader = engine.open(odd_lake)
    with check("nulls"):
        expected = {row["visit"]: row for row in odd_lake.expected("visits")}
        for visit in ("nulls", "empty"):
            assert_same_rows(reader.rows("visits", [Condition("visit", "=", visit)]), [expected[visit]], visit)


def test_a_key_of_a_map_is_read(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader = engine.open(odd_lake)
    with check("maps"):
        for key in ("loyaltyTier", "none", "日本語"):
            expected = {row["id"]: (row["traits"] or {}).get(key) for row in odd_lake.expected("visits")}
            assert dict(reader.entries("visits", "traits", key)) == expected


def test_rows_are_found_by_their_timestamp(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    table = "visits_history"
    reader, expected = engine.open(odd_lake), odd_lake.expected(table)
    with check("times"):
        for moment in map(parse_timestamp, ODD_TIMES):
            same = [row for row in expected if row["visited_at"] == moment]
            assert_same_rows(reader.rows(table, [Condition("visited_at", "=", moment)]), same, f"= {moment}")
            before = [row for row in expected if row["visited_at"] < moment]
            assert_same_rows(reader.rows(table, [Condition("visited_at", "<", moment)]), before, f"< {moment}")


def test_timestamps_can_be_written_as_text(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader, expected = engine.open(odd_lake), odd_lake.expected("visits")
    with check("literals"):
        for moment in map(parse_timestamp, ODD_TIMES):
            same = [row for row in expected if row["visited_at"] == moment]
            found = reader.rows("visits", [Condition("visited_at", "=", Text(moment))])
            assert_same_rows(found, same, f"= {moment}")


def test_a_snapshot_from_before_the_last_night_is_read(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader = engine.open(odd_lake)
    with check("snapshot"):
        tables = [table for table in odd_lake.record_tables if not table.startswith("visits")]
        assert_all_same(
            (table, reader.rows(table, at=odd_lake.before[table]), odd_lake.expected_before[table]) for table in tables
        )

"""The rows of a query in their three forms."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from compactor.cli import query_output
from compactor.errors import CompactorError

TEXT_MAP = pa.map_(pa.string(), pa.string())


def reader(table: pa.Table) -> pa.RecordBatchReader:
    return table.to_reader(max_chunksize=1)


def as_table(table: pa.Table, limit: int = 100, width: int = 100) -> list[str]:
    out = io.StringIO()
    query_output.write_table(
        reader(table), Console(file=out, width=width, force_terminal=False, highlight=False), limit
    )
    return [line.rstrip() for line in out.getvalue().splitlines()]


def as_csv(table: pa.Table) -> list[list[str]]:
    out = io.StringIO()
    query_output.write_csv(reader(table), out)
    return list(csv.reader(io.StringIO(out.getvalue())))


def as_json(table: pa.Table) -> dict[str, Any]:
    out = io.StringIO()
    query_output.write_json(reader(table), out)
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


@pytest.mark.parametrize(
    ("kind", "value", "in_json", "in_csv"),
    [
        (pa.string(), 'a,"b"\n', 'a,"b"\n', 'a,"b"\n'),
        (pa.string(), None, None, ""),
        (pa.int64(), 2**53 - 1, 2**53 - 1, "9007199254740991"),
        (pa.int64(), 2**53, "9007199254740992", "9007199254740992"),  # `jq` and JavaScript would round it
        (pa.int64(), -(2**63), "-9223372036854775808", "-9223372036854775808"),
        (pa.list_(pa.int64()), [1, 2**63 - 1], [1, "9223372036854775807"], '[1, "9223372036854775807"]'),
        (pa.float64(), 1.5, 1.5, "1.5"),
        (pa.float64(), float("nan"), "nan", "nan"),
        (pa.bool_(), True, True, "true"),
        (pa.decimal128(38, 0), Decimal(10**15), 10**15, str(10**15)),
        (pa.decimal128(38, 0), Decimal(10**30), str(10**30), str(10**30)),
        (pa.decimal128(10, 2), Decimal("12.30"), "12.30", "12.30"),
        (pa.date32(), date(2026, 11, 1), "2026-11-01", "2026-11-01"),
        (pa.timestamp("us"), datetime(2026, 11, 1, 5), "2026-11-01T05:00:00", "2026-11-01T05:00:00"),  # noqa: DTZ001
        (pa.timestamp("us", "UTC"), datetime(2026, 11, 1, tzinfo=UTC), "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        (
            pa.timestamp("us", "+02:00"),
            datetime(2026, 11, 1, 2, tzinfo=timezone(timedelta(hours=2))),
            "2026-11-01T00:00:00Z",
            "2026-11-01T00:00:00Z",
        ),
        (pa.binary(), b"\x00\xff", "00ff", "00ff"),
        (
            TEXT_MAP,
            [("tier", "gold"), ("team", None)],
            {"tier": "gold", "team": None},
            '{"tier": "gold", "team": null}',
        ),
        (pa.list_(pa.string()), ["a", None], ["a", None], '["a", null]'),
        (pa.list_(TEXT_MAP), [[("a", "1")]], [{"a": "1"}], '[{"a": "1"}]'),
    ],
)
def test_a_value_keeps_its_meaning(kind: pa.DataType, value: Any, in_json: Any, in_csv: str) -> None:
    table = pa.table({"x": pa.array([value], kind), "y": ["end"]})
    assert as_json(table) == {"columns": ["x", "y"], "rows": [{"x": in_json, "y": "end"}]}
    assert as_csv(table) == [["x", "y"], [in_csv, "end"]]


def test_columns_of_one_name_are_kept_apart() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], ["id", "id_2", "id"])
    assert as_json(table)["rows"] == [{"id": 1, "id_2": 2, "id_3": 3}]


def test_no_rows_are_still_a_header() -> None:
    table = pa.table({"n": pa.array([], pa.int64())})
    assert as_json(table) == {"columns": ["n"], "rows": []}
    assert as_csv(table) == [["n"]]
    assert as_table(table) == ["n", "-"]


def test_numbers_stand_to_the_right() -> None:
    assert as_table(pa.table({"name": ["a", "bb"], "rows": [5, 1000]})) == [
        "name  rows",
        "----------",
        "a        5",
        "bb    1000",
    ]


def test_rows_too_wide_for_the_screen_are_shown_one_value_a_line() -> None:
    assert as_table(pa.table({"id": ["a" * 12], "raw": ["b" * 25]}), width=30) == [
        "row 1",
        "id   aaaaaaaaaaaa",
        "raw  bbbbbbbbbbbbbbbbbbbbbbbbb",
    ]


@pytest.mark.parametrize(("limit", "cut"), [(1, True), (2, False), (3, False)])
def test_the_limit_counts_rows_over_all_batches(limit: int, cut: bool) -> None:
    console = Console(file=io.StringIO(), width=100)
    assert query_output.write_table(reader(pa.table({"n": [1, 2]})), console, limit) is cut


def test_a_value_cannot_steer_the_terminal() -> None:
    assert as_table(pa.table({"x": ["\x1b[2J[red]\n"]}))[-1] == "\\x1b[2J[red]\\n"


@pytest.mark.parametrize("write", [as_table, as_csv, as_json])
@pytest.mark.parametrize("days", [6_537_000, 2**31 - 1, -800_000])
def test_a_date_beyond_the_years_that_can_be_printed_is_named_as_the_cause(write: Any, days: int) -> None:
    found = pa.table({"born": pa.array([0, days], pa.int32()).cast(pa.date32())})
    with pytest.raises(CompactorError, match=r"^the query gives a date that is not within the years 1 to 9999; cast"):
        write(found)

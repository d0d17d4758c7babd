"""Rows taken from many chunks are those that Arrow takes from one."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from compactor.duck import taking
from compactor.duck.taking import Taking

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("map", pa.map_(pa.string(), pa.string())),
        ("flag", pa.bool_()),
        ("number", pa.int64()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("price", pa.decimal128(10, 2)),
        ("list", pa.list_(pa.string())),  # of no table of ours: another engine's column
    ]
)


def table(chance: Random, rows: int, *, nulls: bool = True) -> pa.Table:
    def text() -> str:
        return "".join(chance.choices("aé\u20ac𐐀 ", k=chance.choice([0, 1, 3, 40, 300])))

    def maybe(value: Any) -> Any:
        return None if nulls and chance.random() < 0.2 else value

    def row() -> dict[str, Any]:
        entries = [(f"{number}{text()}", maybe(text())) for number in range(chance.choice([0, 1, 2, 20]))]
        return {
            "text": maybe(text()),
            "map": maybe(entries),
            "flag": maybe(chance.random() < 0.5),
            "number": maybe(chance.randrange(-(2**63), 2**63)),
            "at": maybe(datetime(2026, 11, 1, chance.randrange(24), tzinfo=UTC)),
            "day": maybe(date(2026, 11, chance.randrange(1, 30))),
            "price": maybe(Decimal(chance.randrange(10**6)) / 100),
            "list": maybe([text()]),
        }

    return pa.Table.from_pylist([row() for _ in range(rows)], SCHEMA)


def chunked(chance: Random, whole: pa.Table) -> pa.Table:
    """The same rows in chunks, some of them slices of larger arrays."""
    cuts = sorted(chance.randrange(whole.num_rows + 1) for _ in range(6))
    pieces = [whole.slice(low, high - low) for low, high in zip([0, *cuts], [*cuts, whole.num_rows], strict=True)]
    copies = [pa.Table.from_pylist(piece.to_pylist(), SCHEMA) if chance.random() < 0.5 else piece for piece in pieces]
    return pa.concat_tables(copies)


@pytest.mark.parametrize("has_library", [True, False])
@pytest.mark.parametrize("nulls", [True, False])
def test_rows_are_those_that_arrow_takes(monkeypatch: pytest.MonkeyPatch, has_library: bool, nulls: bool) -> None:
    if not has_library:
        monkeypatch.setattr(taking, "_library", lambda: None)
    chance = Random(5)
    for rows in (1, 7, 200):
        whole = table(chance, rows, nulls=nulls)
        rows_of = Taking.of(chunked(chance, whole))
        for count in (0, 1, 8, 500):
            numbers = np.array([chance.randrange(rows) for _ in range(count)], np.int64)
            found = rows_of.take(numbers)
            found.validate(full=True)
            assert found == whole.take(pa.array(numbers))


def test_rows_of_several_tables_come_one_table_after_the_other() -> None:
    chance = Random(6)
    tables = [table(chance, rows) for rows in (30, 0, 50)]
    whole, numbers = pa.concat_tables(tables), np.arange(79, -1, -3)
    assert Taking.of(*tables).take(numbers) == whole.take(pa.array(numbers))
    parts = [Taking.of(chunked(chance, each)) for each in tables]
    assert parts[0].joined(*parts[1:]).take(numbers) == whole.take(pa.array(numbers))


def test_no_row_is_taken_of_no_rows() -> None:
    none = Taking.of(SCHEMA.empty_table())
    assert (none.num_rows, none.take(np.zeros(0, np.int64))) == (0, SCHEMA.empty_table())


def test_the_library_is_there() -> None:
    assert taking._library() is not None  # noqa: SLF001  else the tests above would show nothing of it

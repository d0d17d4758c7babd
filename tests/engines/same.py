"""Rows of an engine against rows of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.engines.results import Result
from tests.support.model import Row

LINEAGE = ("source_file", "source_line")


def assert_all_same(found: Iterable[tuple[str, Result, Iterable[Row]]]) -> None:
    """The same for several tables: (table, rows, what is due). What differs is told of all of them."""
    told = []
    for table, result, due in found:
        try:
            assert_same_rows(result, due, table)
        except AssertionError as error:
            told.append(str(error).partition("\n")[0])
    assert not told, "\n".join(told)


def assert_same_rows(found: Result, due: Iterable[Row], what: str) -> None:
    """Every value of every row, in whatever order they came, lineage apart. An id stands once in each table."""
    rows, wanted = found.dicts, {row["id"]: row for row in due}
    assert len(rows) == len(wanted), f"{what}: {len(rows)} rows instead of {len(wanted)}"
    differing: dict[str, tuple[Any, Any]] = {}
    for row in rows:
        kept = {name: value for name, value in row.items() if name not in LINEAGE}
        assert row["id"] in wanted, f"{what}: a row that should not be there"
        mine = wanted[row["id"]]
        assert kept.keys() == mine.keys(), f"{what}: columns {sorted(kept)} instead of {sorted(mine)}"
        differing |= {name: (value, mine[name]) for name, value in kept.items() if value != mine[name]}
    assert not differing, f"{what}: values differ in {sorted(differing)}, such as {differing}"

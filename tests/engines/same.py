"""Rows of an engine against rows of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.engines.results import Result
from tests.support.model import Row

LINEAGE = ("source_file", "source_line")


def assert_all_same(found: Iterable[tuple[str, Result, Iterable[Row]]]) -> None:
    """The same for several tables: (table, rows, expected rows). What differs is shown for all of them."""
    shown = []
    for table, result, expected in found:
        try:
            assert_same_rows(result, expected, table)
        except AssertionError as error:
            shown.append(str(error).partition("\n")[0])
    assert not shown, "\n".join(shown)


def assert_same_rows(found: Result, expected: Iterable[Row], what: str) -> None:
    """Every value of every row, in any order, lineage apart. Each table has an id once."""
    rows, wanted = found.dicts, {row["id"]: row for row in expected}
    assert len(rows) == len(wanted), f"{what}: {len(rows)} rows instead of {len(wanted)}"
    differing: dict[str, tuple[Any, Any]] = {}
    for row in rows:
        kept = {name: value for name, value in row.items() if name not in LINEAGE}
        assert row["id"] in wanted, f"{what}: a row that should not be there"
        mine = wanted[row["id"]]
        assert kept.keys() == mine.keys(), f"{what}: columns {sorted(kept)} instead of {sorted(mine)}"
        differing |= {name: (value, mine[name]) for name, value in kept.items() if value != mine[name]}
    assert not differing, f"{what}: values differ in {sorted(differing)}, such as {differing}"

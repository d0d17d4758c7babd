"""The columns of promoted keys, in SQL: their values, whether these are sure, and what did not fit.

`Promotion.value` gives the same for one row. Where the SQL is not sure, the caller asks that.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from compactor.duck.relations import Relation
from compactor.duck.sql import quote
from compactor.registry.dataset import Promotion


def with_values(promotions: Sequence[Promotion], rows: str) -> str:
    """A FROM item of the rows of a statement, which have the maps, with the promoted columns added."""
    if not promotions:
        return f"({rows})"
    entries = [f"{each.entry(quote(each.source))} AS {_entry(number)}" for number, each in enumerate(promotions)]
    values = [
        f"{each.reading.sql.replace('{x}', _entry(number))} AS {quote(each.column)}"
        for number, each in enumerate(promotions)
    ]
    return f"(SELECT *, {', '.join(values)} FROM (SELECT *, {', '.join(entries)} FROM ({rows})))"


def are_sure(promotions: Sequence[Promotion]) -> str:
    """SQL condition under which the columns of a row of `with_values` are what `Promotion.value` gives."""
    conditions = [
        f"CASE WHEN {_entry(number)} IS NULL OR {quote(each.column)} IS NOT NULL THEN true"
        f" ELSE {each.reading.certain.replace('{x}', _entry(number))} END"
        for number, each in enumerate(promotions)
    ]
    return " AND ".join(["true", *conditions])


def unfit_counts(con: duckdb.DuckDBPyConnection, rows: Relation, promotions: Sequence[Promotion]) -> dict[str, int]:
    """By promoted column, the rows that have the entry in the map alone, because it does not fit; without zeros."""
    if not promotions:
        return {}
    counts = ", ".join(
        f"count(*) FILTER (WHERE {each.entry(quote(each.source))} IS NOT NULL AND {quote(each.column)} IS NULL)"
        for each in promotions
    )
    (found,) = con.execute(f"SELECT {counts} FROM {rows}").fetchall()
    return {each.column: number for each, number in zip(promotions, found, strict=True) if number}


def _entry(number: int) -> str:
    """The column of `with_values` with the text of a promotion's entry."""
    return f"__entry_{number}"

"""What engines differ in, beyond what sqlglot knows: the day of a time, and times in Athena's views.

All rules are about the same three facts. Tables hold `timestamptz` in UTC. Trino and Athena take the day of such a time
in the time's own zone, which is UTC; DuckDB and Spark in the session's zone, whatever that is. Athena keeps the columns
of a view as Hive types, and those have no time with a zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from sqlglot import exp

Dialect = Literal["athena", "trino", "spark", "duckdb"]
DIALECTS: tuple[str, ...] = get_args(Dialect)
SOURCE = "trino"
"""The dialect that recipes are written in: the one that is poorest in habits of its own."""

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_ZONED = (exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPLTZ)


def select(query: exp.Query, typed: exp.Query, dialect: Dialect, place: Sequence[str]) -> str:
    """The query for an engine. `typed` is the same with the type of each expression; tables get their `place`."""
    query = query.copy()
    of_time = _casts_of_times(typed)
    for number, cast in enumerate(_casts(query)):
        if number in of_time:
            cast.set("this", _in_utc(cast.this, dialect))
    if dialect == "athena":
        for branch in _branches(query):
            for number, column in enumerate(typed.selects):
                if column.is_type(*_ZONED):
                    branch.selects[number].replace(_without_zone(branch.selects[number], column.alias_or_name))
    own = {each.alias for each in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        if table.name not in own:
            _put(table, place)
    return query.sql(dialect=dialect, pretty=True, comments=False)


def columns(typed: exp.Query, dialect: Dialect) -> dict[str, str]:
    """The columns that a view has in an engine, with their types in the words of `SOURCE`."""
    lost = dialect == "athena"
    return {
        each.alias_or_name: "TIMESTAMP(6)" if lost and each.is_type(*_ZONED) else each.type.sql(SOURCE)
        for each in typed.selects
        if each.type is not None
    }


def place(dialect: Dialect, catalog: str, namespace: str) -> tuple[str, ...]:
    """What stands before a name: for Spark the catalog too, because `rover.t` is table t of a *catalog* rover there."""
    return (catalog, namespace) if dialect == "spark" else (namespace,)


def create(name: str, sql: str, dialect: Dialect, place: Sequence[str]) -> str:
    """The statement that makes a view of a query for this engine, or exchanges it."""
    view = exp.to_table(name)
    _put(view, place)
    return f"CREATE OR REPLACE VIEW {view.sql(dialect=dialect)} AS\n{sql}"


def _put(table: exp.Table, place: Sequence[str]) -> None:
    for part, name in zip(("db", "catalog"), reversed(place), strict=False):
        table.set(part, _identifier(name))


def _identifier(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=not _PLAIN.fullmatch(name))


def _casts(query: exp.Query) -> list[exp.Cast]:
    """The casts that are written as such: qualifying a query keeps their order, and makes none."""
    return [each for each in query.find_all(exp.Cast) if each.is_type("date")]


def _casts_of_times(typed: exp.Query) -> set[int]:
    return {number for number, cast in enumerate(_casts(typed)) if cast.this.is_type(*_ZONED)}


def _in_utc(time: exp.Expr, dialect: Dialect) -> exp.Expr:
    """The time such that its day is the UTC day, whatever the session's zone is."""
    if dialect == "duckdb":
        return exp.AtTimeZone(this=time, zone=exp.Literal.string("UTC"))
    if dialect == "spark":
        return exp.Anonymous(this="TO_UTC_TIMESTAMP", expressions=[time, exp.Anonymous(this="CURRENT_TIMEZONE")])
    return time


def _branches(query: exp.Query) -> list[exp.Select]:
    """The SELECTs whose rows are the query's rows."""
    if isinstance(query, exp.SetOperation):
        return [*_branches(query.left), *_branches(query.right)]
    assert isinstance(query, exp.Select)
    return [query]


def _without_zone(column: exp.Expr, name: str) -> exp.Expr:
    return exp.alias_(exp.cast(column.unalias().copy(), "TIMESTAMP(6)", dialect=SOURCE), name)

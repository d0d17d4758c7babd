"""Differences between engines that sqlglot does not know: the day of a timestamp, and timestamps in Athena's views.

Three facts explain all rules:

- Tables hold `timestamptz` in UTC.
- Trino and Athena take the day of a timestamp in its own zone, which is UTC. DuckDB and Spark take it in the zone of
  the session, whichever that is.
- Athena stores the columns of a view as Hive types, and Hive has no timestamp with a zone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

from sqlglot import exp

Dialect = Literal["athena", "trino", "spark", "duckdb"]
DIALECTS: tuple[str, ...] = get_args(Dialect)
SOURCE = "trino"
"""The dialect of the view definitions: it is the closest to standard SQL."""

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_ZONED = (exp.DataType.Type.TIMESTAMPTZ, exp.DataType.Type.TIMESTAMPLTZ)


def select(query: exp.Query, typed: exp.Query, dialect: Dialect, qualifier: Sequence[str]) -> str:
    """The query as SQL for an engine, with the qualifier before each table.

    `typed` is the same query with the type of each expression.
    """
    query = query.copy()
    of_timestamps = _casts_of_timestamps(typed)
    for number, cast in enumerate(_casts(query)):
        if number in of_timestamps:
            cast.set("this", _in_utc(cast.this, dialect))
    if dialect == "athena":
        for branch in _branches(query):
            for number, column in enumerate(typed.selects):
                if column.is_type(*_ZONED):
                    branch.selects[number].replace(_without_zone(branch.selects[number], column.alias_or_name))
    own = {each.alias for each in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        if table.name not in own:
            _qualify(table, qualifier)
    return query.sql(dialect=dialect, pretty=True, comments=False)


def columns(typed: exp.Query, dialect: Dialect) -> dict[str, str]:
    """The columns of a view in an engine: column -> type, as Trino writes it."""
    zone_is_lost = dialect == "athena"
    return {
        each.alias_or_name: "TIMESTAMP(6)" if zone_is_lost and each.is_type(*_ZONED) else each.type.sql(SOURCE)
        for each in typed.selects
        if each.type is not None
    }


def qualifier(dialect: Dialect, catalog: str, namespace: str) -> tuple[str, ...]:
    """What stands before a table's name. Spark needs the catalog too: it takes the `rover` of `rover.t` for one."""
    return (catalog, namespace) if dialect == "spark" else (namespace,)


def create(name: str, sql: str, dialect: Dialect, qualifier: Sequence[str]) -> str:
    """The statement that creates or replaces the view in an engine."""
    view = exp.to_table(name)
    _qualify(view, qualifier)
    return f"CREATE OR REPLACE VIEW {view.sql(dialect=dialect)} AS\n{sql}"


def _qualify(table: exp.Table, qualifier: Sequence[str]) -> None:
    for part, name in zip(("db", "catalog"), reversed(qualifier), strict=False):
        table.set(part, _identifier(name))


def _identifier(name: str) -> exp.Identifier:
    return exp.to_identifier(name, quoted=not _PLAIN.fullmatch(name))


def _casts(query: exp.Query) -> list[exp.Cast]:
    """The casts to date, in the order of the text. Qualifying a query keeps their order and adds none."""
    return [each for each in query.find_all(exp.Cast) if each.is_type("date")]


def _casts_of_timestamps(typed: exp.Query) -> set[int]:
    """Positions, among the casts to date, of those that cast a timestamp with a zone."""
    return {number for number, cast in enumerate(_casts(typed)) if cast.this.is_type(*_ZONED)}


def _in_utc(timestamp: exp.Expr, dialect: Dialect) -> exp.Expr:
    """The timestamp, changed so that its day is the UTC day in any zone of the session."""
    if dialect == "duckdb":
        return exp.AtTimeZone(this=timestamp, zone=exp.Literal.string("UTC"))
    if dialect == "spark":
        return exp.Anonymous(this="TO_UTC_TIMESTAMP", expressions=[timestamp, exp.Anonymous(this="CURRENT_TIMEZONE")])
    return timestamp


def _branches(query: exp.Query) -> list[exp.Select]:
    """The SELECTs that give the rows of the query: one, or the parts of a UNION."""
    if isinstance(query, exp.SetOperation):
        return [*_branches(query.left), *_branches(query.right)]
    assert isinstance(query, exp.Select)
    return [query]


def _without_zone(column: exp.Expr, name: str) -> exp.Expr:
    return exp.alias_(exp.cast(column.unalias().copy(), "TIMESTAMP(6)", dialect=SOURCE), name)

"""Names and texts in DuckDB's SQL."""

from __future__ import annotations

import duckdb


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def number(con: duckdb.DuckDBPyConnection, statement: str) -> int:
    """The single number that a statement gives; 0 if it gives none."""
    row = con.execute(statement).fetchone()
    return int(row[0]) if row and row[0] is not None else 0

"""Names, texts and types as the in-process SQL engine has them."""

from __future__ import annotations

import duckdb
import pyarrow as pa

_SQL_TYPES = {
    "string": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "map": "MAP(VARCHAR, VARCHAR)",
}
_ARROW_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "timestamp": pa.timestamp("us"),
    "date": pa.date32(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "map": pa.map_(pa.string(), pa.string()),
}


def sql_type(field_type: str) -> str:
    """The engine's type of a registry type. Timestamps are UTC and have no zone inside the engine."""
    return _SQL_TYPES.get(field_type, field_type.upper())


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def arrow_type(field_type: str) -> pa.DataType:
    """The Arrow type of a registry type, as the engine takes it in."""
    if field_type in _ARROW_TYPES:
        return _ARROW_TYPES[field_type]
    precision, scale = field_type.removeprefix("decimal(").removesuffix(")").split(",")
    return pa.decimal128(int(precision), int(scale))


def number(con: duckdb.DuckDBPyConnection, statement: str) -> int:
    """The one number that a statement gives; 0 for none."""
    row = con.execute(statement).fetchone()
    return int(row[0]) if row and row[0] is not None else 0

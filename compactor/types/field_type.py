"""The type of a field: its name in the registry, and its form in DuckDB, Arrow, Iceberg, Spark and Trino.

All that differs between types is here or is a comparison with a constant of this module. No other module looks at the
text of a type.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from compactor.types import json_values

MAX_PRECISION = 38
"""Digits of a decimal, at most: in Iceberg and in each engine."""

_E = '"$e"'  # an entry, in a lambda: a column of the same name would be taken in its place
_CANONICAL_MAP = (
    f"'{{' || coalesce(list_aggregate(list_transform(list_sort(map_entries({{x}})), lambda {_E}:"
    f" to_json({_E}.key)::VARCHAR || ':' || CASE WHEN {_E}.value IS NULL THEN 'null'"
    f" WHEN {_E}.value[1] <> '\"' AND {_E}.value <> 'null' AND json_valid({_E}.value) THEN {_E}.value"
    f" ELSE to_json({_E}.value)::VARCHAR END), 'string_agg', ','), '') || '}}'"
)


@dataclass(frozen=True, repr=False)
class FieldType:
    """The type of a field. Two types are equal if their names are.

    Attributes:
        name: its text in the registry: string, long, double, boolean, timestamp, date, decimal(P,S) or map.
        duckdb: the type of a DuckDB column. Timestamps are UTC and have no zone inside a session.
        arrow: the Arrow type of data that a session takes.
        arrow_stored: the Arrow type of data of the tables and of Spark: a timestamp has the zone UTC.
        iceberg: the type as the Iceberg specification writes it.
        spark: the type in Spark SQL.
        trino: the type in Trino's SQL.
        read: makes a column's value of a JSON value (see `json_values`). Raises BadValue.
        write: the JSON text of a column's value. `read` gives that value again.
        canonical: SQL for the JSON text by which equal records are compared; `{x}` stands for the column.
        digits: (precision, scale) of a decimal; None for any other type.
    """

    name: str
    duckdb: str = field(compare=False)
    arrow: pa.DataType = field(compare=False)
    arrow_stored: pa.DataType = field(compare=False)
    iceberg: str = field(compare=False)
    spark: str = field(compare=False)
    trino: str = field(compare=False)
    read: Callable[[Any], Any] = field(compare=False)
    write: Callable[[Any], str] = field(compare=False)
    canonical: str = field(compare=False)
    digits: tuple[int, int] | None = field(compare=False, default=None)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"FieldType({self.name})"

    @property
    def zoned(self) -> bool:
        """Whether its values have a zone in the tables, and none in a session."""
        return bool(self.arrow != self.arrow_stored)

    def canonical_json(self, column: str) -> str:
        """`canonical` of a column, given as SQL. The column is not NULL."""
        return self.canonical.replace("{x}", column)


STRING = FieldType(
    name="string",
    duckdb="VARCHAR",
    arrow=pa.string(),
    arrow_stored=pa.string(),
    iceberg="string",
    spark="STRING",
    trino="VARCHAR",
    read=json_values.string,
    write=json_values.json_text,
    canonical="to_json({x}::VARCHAR)::VARCHAR",
)
LONG = FieldType(
    name="long",
    duckdb="BIGINT",
    arrow=pa.int64(),
    arrow_stored=pa.int64(),
    iceberg="long",
    spark="BIGINT",
    trino="BIGINT",
    read=json_values.long,
    write=json_values.json_text,
    canonical="{x}::VARCHAR",
)
DOUBLE = FieldType(
    name="double",
    duckdb="DOUBLE",
    arrow=pa.float64(),
    arrow_stored=pa.float64(),
    iceberg="double",
    spark="DOUBLE",
    trino="DOUBLE",
    read=json_values.double,
    write=json_values.json_text,
    canonical="{x}::VARCHAR",
)
BOOLEAN = FieldType(
    name="boolean",
    duckdb="BOOLEAN",
    arrow=pa.bool_(),
    arrow_stored=pa.bool_(),
    iceberg="boolean",
    spark="BOOLEAN",
    trino="BOOLEAN",
    read=json_values.boolean,
    write=json_values.json_text,
    canonical="{x}::VARCHAR",
)
TIMESTAMP = FieldType(
    name="timestamp",
    duckdb="TIMESTAMP",
    arrow=pa.timestamp("us"),
    arrow_stored=pa.timestamp("us", "UTC"),
    iceberg="timestamptz",
    spark="TIMESTAMP",
    trino="TIMESTAMP WITH TIME ZONE",
    read=json_values.timestamp,
    write=json_values.timestamp_text,
    canonical="strftime({x}, '\"%Y-%m-%dT%H:%M:%S.%fZ\"')",
)
DATE = FieldType(
    name="date",
    duckdb="DATE",
    arrow=pa.date32(),
    arrow_stored=pa.date32(),
    iceberg="date",
    spark="DATE",
    trino="DATE",
    read=json_values.date,
    write=json_values.date_text,
    canonical="to_json({x}::VARCHAR)::VARCHAR",
)
MAP = FieldType(
    name="map",
    duckdb="MAP(VARCHAR, VARCHAR)",
    arrow=pa.map_(pa.string(), pa.string()),
    arrow_stored=pa.map_(pa.string(), pa.string()),
    iceberg="map<string,string>",
    spark="MAP<STRING, STRING>",
    trino="MAP(VARCHAR, VARCHAR)",
    read=json_values.text_map,
    write=json_values.map_text,
    canonical=_CANONICAL_MAP,
)

_NAMED = {each.name: each for each in (STRING, LONG, DOUBLE, BOOLEAN, TIMESTAMP, DATE, MAP)}
SCALAR_NAMES = (*(name for name in _NAMED if name != MAP.name), "decimal(P,S)")
"""How messages list the types, but for map."""


def decimal(precision: int, scale: int) -> FieldType:
    """The type of numbers with `precision` digits, `scale` of them after the point. Raises ValueError."""
    if not max(scale, 1) <= precision <= MAX_PRECISION:
        raise ValueError(f"no decimal has {precision} digits, {scale} of them after the point")
    sql = f"DECIMAL({precision},{scale})"
    return FieldType(
        name=f"decimal({precision},{scale})",
        duckdb=sql,
        arrow=pa.decimal128(precision, scale),
        arrow_stored=pa.decimal128(precision, scale),
        iceberg=f"decimal({precision},{scale})",
        spark=sql,
        trino=sql,
        read=partial(json_values.decimal, precision=precision, scale=scale),
        write=json_values.decimal_text,
        canonical="{x}::VARCHAR",
        digits=(precision, scale),
    )


def parse(text: str) -> FieldType | None:
    """The type that a registry's text names; a decimal may have spaces. None if it names no type."""
    if found := re.fullmatch(r"decimal\( *(\d{1,2}) *, *(\d{1,2}) *\)", text, re.ASCII):
        precision, scale = int(found[1]), int(found[2])
        return decimal(precision, scale) if max(scale, 1) <= precision <= MAX_PRECISION else None
    return _NAMED.get(text)


def is_like_decimal(text: str) -> bool:
    """Whether a text that names no type was meant to be a decimal."""
    return re.match("decimal", text) is not None

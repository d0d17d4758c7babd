"""Conversions between types: how a value of an older schema version becomes one of a newer version.

Each conversion exists twice: in Python for one value, and in SQL for a column, with the condition under which the SQL
surely gives the same value. Where the condition does not hold, the caller converts the value in Python. Only Python
decides that a value cannot be converted: no value is ever rounded, cut or made NULL in silence.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from compactor.duck.sql import literal
from compactor.types import field_type
from compactor.types.field_type import BOOLEAN, DATE, DOUBLE, LONG, STRING, TIMESTAMP, FieldType
from compactor.types.json_values import BadValue, Number

UNITS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
"""Units of a whole number that becomes a timestamp, in microseconds: it counts them since 1970."""

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST, _LAST = "-62135596800000000", "253402300799999999"  # microseconds of the years 1 to 9999


@dataclass(frozen=True)
class Conversion:
    """How the values of one type become those of another.

    Attributes:
        value: converts one value, never None. Raises BadValue.
        sql: converts a column; the text `{x}` stands for it (replaced, not formatted: patterns have braces too).
        sure: SQL condition under which `sql` gives what `value` gives. Elsewhere `value` converts the row.
    """

    value: Callable[[Any], Any]
    sql: str
    sure: str = "true"


def conversion(source: FieldType, to: FieldType, unit: str | None = None) -> Conversion | None:
    """The conversion between two types; None where there is none."""
    if (unit is not None) != ((source, to) == (LONG, TIMESTAMP)):
        return None
    if source == STRING:
        return _of_text(to)
    if to == STRING:
        return _to_text(source)
    if to.digits:
        return _to_decimal(source, to)
    if unit:
        return _of_epoch(UNITS[unit])
    if source.digits and to == DOUBLE:
        # Up to 15 digits both the whole number and its divisor are exact doubles.
        scale = source.digits[1]
        return Conversion(float, "CAST({x} AS DOUBLE)", f"abs({{x}}) < {10 ** max(15 - scale, 0)} AND {scale <= 15}")
    return _PLAIN.get((source, to))


def targets(source: FieldType) -> list[str]:
    """The names of the types that a type can become, for messages."""
    types = [STRING, LONG, DOUBLE, field_type.decimal(38, 9), BOOLEAN, TIMESTAMP, DATE]
    found = [to for to in types if to != source and (conversion(source, to) or conversion(source, to, "seconds"))]
    return ["decimal(P,S)" if to.digits else to.name for to in found]


def plain_text(text: str, to: FieldType) -> tuple[str, str]:
    """SQL for the value of a text in a type that has a `plain_pattern`, and the condition under which it is sure."""
    assert to.plain_pattern is not None
    value = f"try_cast({text} AS {to.duckdb})"
    return value, f"regexp_full_match({text}, {literal(to.plain_pattern)}) AND {value} IS NOT NULL"


def _of_text(to: FieldType) -> Conversion | None:
    if to in (TIMESTAMP, DATE):
        value, sure = plain_text("{x}", to)
        return Conversion(to.read, value, sure)
    if to == BOOLEAN:
        return Conversion(_boolean, "({x} = 'true')", "{x} IN ('true', 'false')")
    if to.digits:
        value, sure = plain_text("{x}", to)
        numeral = literal(r"-?(0|[1-9]\d*)(\.\d+)?")
        return Conversion(_numeral(to), value, f"{sure} AND regexp_full_match({{x}}, {numeral})")
    patterns = {LONG: r"0|-?[1-9]\d{0,14}", DOUBLE: r"0|-?[1-9]\d{0,14}|-?(0|[1-9]\d{0,8})\.\d{1,6}"}
    if to in patterns:
        pattern = literal(patterns[to])
        value = f"try_cast({{x}} AS {to.duckdb})"
        return Conversion(_numeral(to), value, f"regexp_full_match({{x}}, {pattern})")
    return None


def _numeral(to: FieldType) -> Callable[[Any], Any]:
    """A text is read as the JSON number that it would be."""

    def read(text: Any) -> Any:
        if not _NUMBER.fullmatch(text):
            raise BadValue("not a number")
        return to.read(Number(text))

    return read


def _boolean(text: Any) -> bool:
    if text not in ("true", "false"):
        raise BadValue("neither true nor false")
    return bool(text == "true")


def _to_text(source: FieldType) -> Conversion | None:
    if source.digits:
        return Conversion(lambda number: format(number, "f"), "CAST({x} AS VARCHAR)")
    return _TEXTS.get(source)


def _to_decimal(source: FieldType, to: FieldType) -> Conversion | None:
    value = f"try_cast({{x}} AS {to.duckdb})"
    if source == LONG:
        return Conversion(_fitting(to), value, f"{value} IS NOT NULL")
    if source.digits:
        return Conversion(_fitting(to), value, f"{value} IS NOT DISTINCT FROM {{x}}")
    return None


def _fitting(to: FieldType) -> Callable[[Any], Any]:
    return lambda number: to.read(Number(format(Decimal(number), "f")))


def _of_epoch(factor: int) -> Conversion:
    def timestamp(number: Any) -> dt.datetime:
        try:
            return (_EPOCH + dt.timedelta(microseconds=number * factor)).replace(tzinfo=None)
        except OverflowError:
            raise BadValue("beyond the years 1 to 9999") from None

    within = f"{{x}} BETWEEN {_FIRST} // {factor} + 1 AND {_LAST} // {factor}"
    # DuckDB evaluates the value for all rows, also where it is not sure: it must not overflow.
    return Conversion(timestamp, f"make_timestamp(CASE WHEN {within} THEN {{x}} * {factor} END)", within)


def _whole(number: float) -> int:
    if not number.is_integer() or abs(number) >= 2**63:
        raise BadValue("not a whole 64-bit number")
    return int(number)


def _iso(timestamp: dt.datetime) -> str:
    return timestamp.isoformat(timespec="microseconds") + "Z"


_TEXTS = {
    LONG: Conversion(str, "CAST({x} AS VARCHAR)"),
    DOUBLE: Conversion(repr, "CAST({x} AS VARCHAR)", "({x} = 0 OR abs({x}) BETWEEN 0.001 AND 1e15)"),
    BOOLEAN: Conversion(lambda yes: "true" if yes else "false", "CAST({x} AS VARCHAR)"),
    TIMESTAMP: Conversion(_iso, "strftime({x}, '%Y-%m-%dT%H:%M:%S.%fZ')", "year({x}) >= 1000"),
    DATE: Conversion(dt.date.isoformat, "strftime({x}, '%Y-%m-%d')", "year({x}) >= 1000"),
}
_PLAIN = {
    (LONG, DOUBLE): Conversion(float, "CAST({x} AS DOUBLE)"),
    (DOUBLE, LONG): Conversion(_whole, "try_cast({x} AS BIGINT)", f"(abs({{x}}) <= {2**53} AND {{x}} = floor({{x}}))"),
    (DATE, TIMESTAMP): Conversion(
        lambda day: dt.datetime.combine(day, dt.time()),
        "CAST({x} AS TIMESTAMP)",
    ),
    (TIMESTAMP, DATE): Conversion(dt.datetime.date, "CAST({x} AS DATE)"),
}

"""Conversions between types: what a value of one type is as a value of another. A value that does not fit is refused.

They convert the values of older schema versions, and the texts of maps that have columns of their own (see
`map_entries`). A text is read as the JSON value that it would be, so it becomes what a declared field would hold.

Each conversion exists twice: in Python for one value, and in SQL for a column, with the condition under which the SQL
surely gives the same value. Where the condition does not hold, the caller converts the value in Python. No value is
rounded or cut, but for two rules of JSON values: a double is the nearest one, and timestamps have microseconds.
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
from compactor.types.json_values import TIMESTAMP_PATTERN, BadValue, Number

UNITS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
"""Units of a whole number that becomes a timestamp, in microseconds: it counts them since 1970."""

_WHOLE, _FRACTION, _EXPONENT, _ZEROS = r"-?(0|[1-9]\d*)", r"(\.\d+)?", r"[eE][+-]?\d+", r"\.0+"
_NUMBER = re.compile(f"{_WHOLE}{_FRACTION}({_EXPONENT})?", re.ASCII)
_DAY = r"\d{4}-\d\d-\d\d"
_TIME = r"[12]\d{3}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?"
_OFFSET = r"[+-]([01]\d|2[0-3]):[0-5]\d"
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


@dataclass(frozen=True)
class TextReading:
    """How a text is read as a value of a type.

    Attributes:
        value: reads one text. Raises BadValue.
        sql: reads a column of texts; `{x}` stands for it. Where it gives a value, `value` gives the same.
        certain: SQL condition under which a text of which `sql` makes NULL is no value of the type.
    """

    value: Callable[[str], Any]
    sql: str
    certain: str = "true"


def text_reading(to: FieldType) -> TextReading | None:
    """How a text is read as a value of a type; None where no text can be one."""
    if to == BOOLEAN:
        return TextReading(_boolean, "CASE {x} WHEN 'true' THEN true WHEN 'false' THEN false END")
    if to == DATE:
        day = f"{_is(_DAY)} AND NOT starts_with({{x}}, '0000')"
        return TextReading(to.read, f"CASE WHEN {day} THEN try_cast({{x}} AS DATE) END")
    if to == TIMESTAMP:
        value = (
            f"CASE WHEN {_is(_TIME + 'Z')} THEN try_cast({{x}} AS TIMESTAMP)"
            # Cast to a TIMESTAMP, the text would lose its offset.
            f" WHEN {_is(_TIME + _OFFSET)} THEN try_cast({{x}} AS TIMESTAMPTZ)::TIMESTAMP END"
        )
        return TextReading(to.read, value, f"NOT {_is(TIMESTAMP_PATTERN)}")
    if to == LONG:
        value = (
            f"CASE WHEN {_is(_WHOLE)} THEN try_cast({{x}} AS BIGINT)"
            f" WHEN {_is(_WHOLE + _ZEROS)} THEN try_cast(split_part({{x}}, '.', 1) AS BIGINT) END"
        )
        return TextReading(_numeral(to), value, _NO_EXPONENT)
    if to == DOUBLE:
        # So few digits are a whole number over a power of ten that are both exact: their quotient is the nearest.
        few = f"{_is(_WHOLE + _FRACTION)} AND length({{x}}) <= 15 AND {{x}} <> '-0'"
        return TextReading(
            _numeral(to), f"CASE WHEN {few} THEN try_cast({{x}} AS DOUBLE) END", f"NOT {_is(_NUMBER.pattern)}"
        )
    if to.digits:
        precision, scale = to.digits
        before = rf"-?(0|[1-9]\d{{0,{precision - scale - 1}}})" if precision > scale else "-?0"
        after = rf"(\.\d{{1,{scale}}}0*)?" if scale else f"({_ZEROS})?"
        return TextReading(
            _numeral(to), f"CASE WHEN {_is(before + after)} THEN try_cast({{x}} AS {to.duckdb}) END", _NO_EXPONENT
        )
    return None


def _is(pattern: str) -> str:
    return f"regexp_full_match({{x}}, {literal(pattern)})"


_NO_EXPONENT = f"NOT {_is(_WHOLE + _FRACTION + _EXPONENT)}"


def _of_text(to: FieldType) -> Conversion | None:
    reading = text_reading(to)
    return Conversion(reading.value, reading.sql, f"({reading.sql}) IS NOT NULL") if reading else None


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
    if not number.is_integer() or not -(2**63) <= number < 2**63:
        raise BadValue("not a whole 64-bit number")
    return int(number)


def _day(timestamp: dt.datetime) -> dt.date:
    if timestamp.time() != dt.time():
        raise BadValue("not the beginning of a day")
    return timestamp.date()


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
    (TIMESTAMP, DATE): Conversion(_day, "CAST({x} AS DATE)", "{x} = date_trunc('day', {x})"),
}

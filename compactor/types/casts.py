"""Conversions between column types: how a value of an older schema version becomes one of a newer.

Each conversion is stated twice, for one value in Python and for a column in SQL, with the condition under which the SQL
is surely the same. Where it is not, the caller falls back to Python, which alone says that a value cannot be
converted: a value is never rounded, cut or made NULL in silence.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from compactor.duck.sql import literal, sql_type
from compactor.types import json_values
from compactor.types.json_values import BadValue, Number

UNITS = {"seconds": 1_000_000, "milliseconds": 1_000, "microseconds": 1}
"""What a whole number that is to be a timestamp counts, since 1970, in microseconds."""

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FIRST, _LAST = "-62135596800000000", "253402300799999999"  # microseconds of the years 1 to 9999

PLAIN_TIMESTAMP = r"[12]\d{3}-\d\d-\d\d[T ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?Z"
PLAIN_DATE = r"[12]\d{3}-\d\d-\d\d"


@dataclass(frozen=True)
class Conversion:
    """One way from a type to another.

    Attributes:
        value: converts one value, never None. Raises BadValue.
        sql: converts a column; the text `{x}` stands for it (replaced, not formatted: patterns have braces too).
        sure: where `sql` gives what `value` gives; elsewhere the row is for `value`.
    """

    value: Callable[[Any], Any]
    sql: str
    sure: str = "true"


def conversion(source: str, to: str, unit: str | None = None) -> Conversion | None:
    """The conversion between two registry types; None where there is none."""
    if (unit is not None) != (source == "long" and to == "timestamp"):
        return None
    if source == "string":
        return _of_text(to)
    if to == "string":
        return _to_text(source)
    if json_values.decimal_of(to):
        return _to_decimal(source, to)
    if source == "long" and to == "timestamp" and unit:
        return _of_epoch(UNITS[unit])
    if (parts := json_values.decimal_of(source)) and to == "double":
        # Up to 15 digits both the whole number and its divisor are exact doubles.
        return Conversion(
            float, "CAST({x} AS DOUBLE)", f"abs({{x}}) < {10 ** max(15 - parts[1], 0)} AND {parts[1] <= 15}"
        )
    return _PLAIN.get((source, to))


def targets(source: str) -> list[str]:
    """The types that a type can become, for messages."""
    kinds = ["string", "long", "double", "decimal(38,9)", "boolean", "timestamp", "date"]
    found = [to for to in kinds if to != source and (conversion(source, to) or conversion(source, to, "seconds"))]
    return ["decimal(P,S)" if to.startswith("decimal") else to for to in found]


def plain_text(text: str, kind: str) -> tuple[str, str]:
    """SQL for the value of a text in a type that JSON has no literal for, and the condition under which it is sure."""
    value = f"try_cast({text} AS {sql_type(kind)})"
    if kind == "timestamp":
        pattern = PLAIN_TIMESTAMP
    elif kind == "date":
        pattern = PLAIN_DATE
    else:
        precision, scale = json_values.decimal_of(kind) or (0, 0)
        # Up to 15 digits a double prints as it was written, so the cast is exact.
        whole = max(0, min(precision - scale, 15 - scale))
        fraction = rf"(\.\d{{1,{scale}}})?" if scale else ""
        pattern = rf"-?\d{{1,{max(whole, 1)}}}{fraction}"
    return value, f"regexp_full_match({text}, {literal(pattern)}) AND {value} IS NOT NULL"


def _of_text(to: str) -> Conversion | None:
    if to in ("timestamp", "date"):
        value, sure = plain_text("{x}", to)
        return Conversion(json_values.reader(to), value, sure)
    if to == "boolean":
        return Conversion(_boolean, "({x} = 'true')", "{x} IN ('true', 'false')")
    patterns = {"long": r"0|-?[1-9]\d{0,14}", "double": r"0|-?[1-9]\d{0,14}|-?(0|[1-9]\d{0,8})\.\d{1,6}"}
    if json_values.decimal_of(to):
        value, sure = plain_text("{x}", to)
        numeral = literal(r"-?(0|[1-9]\d*)(\.\d+)?")
        return Conversion(_numeral(to), value, f"{sure} AND regexp_full_match({{x}}, {numeral})")
    if to in patterns:
        pattern = literal(patterns[to])
        value = f"try_cast({{x}} AS {sql_type(to)})"
        return Conversion(_numeral(to), value, f"regexp_full_match({{x}}, {pattern})")
    return None


def _numeral(to: str) -> Callable[[Any], Any]:
    """A text is read as the JSON number that it would be."""

    def read(text: Any) -> Any:
        if not _NUMBER.fullmatch(text):
            raise BadValue("not a number")
        return json_values.reader(to)(Number(text))

    return read


def _boolean(text: Any) -> bool:
    if text not in ("true", "false"):
        raise BadValue("neither true nor false")
    return bool(text == "true")


def _to_text(source: str) -> Conversion | None:
    if json_values.decimal_of(source):
        return Conversion(lambda number: format(number, "f"), "CAST({x} AS VARCHAR)")
    return _TEXTS.get(source)


def _to_decimal(source: str, to: str) -> Conversion | None:
    value = f"try_cast({{x}} AS {sql_type(to)})"
    if source == "long":
        return Conversion(_fitting(to), value, f"{value} IS NOT NULL")
    if json_values.decimal_of(source):
        return Conversion(_fitting(to), value, f"{value} IS NOT DISTINCT FROM {{x}}")
    return None


def _fitting(to: str) -> Callable[[Any], Any]:
    return lambda number: json_values.reader(to)(Number(format(Decimal(number), "f")))


def _of_epoch(factor: int) -> Conversion:
    def moment(number: Any) -> dt.datetime:
        try:
            return (_EPOCH + dt.timedelta(microseconds=number * factor)).replace(tzinfo=None)
        except OverflowError:
            raise BadValue("beyond the years 1 to 9999") from None

    within = f"{{x}} BETWEEN {_FIRST} // {factor} + 1 AND {_LAST} // {factor}"
    # The engine looks at all rows, those too that are not sure: they must not overflow.
    return Conversion(moment, f"make_timestamp(CASE WHEN {within} THEN {{x}} * {factor} END)", within)


def _whole(number: float) -> int:
    if not number.is_integer() or abs(number) >= 2**63:
        raise BadValue("not a whole 64-bit number")
    return int(number)


def _iso(moment: dt.datetime) -> str:
    return moment.isoformat(timespec="microseconds") + "Z"


_TEXTS = {
    "long": Conversion(str, "CAST({x} AS VARCHAR)"),
    "double": Conversion(repr, "CAST({x} AS VARCHAR)", "({x} = 0 OR abs({x}) BETWEEN 0.001 AND 1e15)"),
    "boolean": Conversion(lambda yes: "true" if yes else "false", "CAST({x} AS VARCHAR)"),
    "timestamp": Conversion(_iso, "strftime({x}, '%Y-%m-%dT%H:%M:%S.%fZ')", "year({x}) >= 1000"),
    "date": Conversion(dt.date.isoformat, "strftime({x}, '%Y-%m-%d')", "year({x}) >= 1000"),
}
_PLAIN = {
    ("long", "double"): Conversion(float, "CAST({x} AS DOUBLE)"),
    ("double", "long"): Conversion(
        _whole, "try_cast({x} AS BIGINT)", f"(abs({{x}}) <= {2**53} AND {{x}} = floor({{x}}))"
    ),
    ("date", "timestamp"): Conversion(
        lambda day: dt.datetime.combine(day, dt.time()),
        "CAST({x} AS TIMESTAMP)",
    ),
    ("timestamp", "date"): Conversion(dt.datetime.date, "CAST({x} AS DATE)"),
}

"""Single JSON values, exactly: what a field of each type accepts, what it becomes, and its JSON text again.

A number comes as `Number`, its JSON text, so that no digit is lost before its type is known. An object comes as
`JsonObject`. A reader raises `BadValue` with a reason that names no value: it may be logged.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable
from decimal import Context, Decimal, InvalidOperation
from typing import Any

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
TIMESTAMP_PATTERN = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d(?::?\d\d)?)?"
"""Regular expression of the texts that can be a timestamp: each timestamp matches it, and some texts that are none."""
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN, re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_encode = json.JSONEncoder(ensure_ascii=False).encode  # `json.dumps` makes an encoder for each value
_WIDE = Context(prec=40)  # the usual 28 digits are fewer than a decimal column may have


class Number(str):
    """A JSON number as its text."""

    __slots__ = ()


class JsonObject(list[tuple[str, Any]]):
    """A JSON object as its pairs. Of a duplicate key the last value counts; the text of the object keeps both."""

    __slots__ = ()


class BadValue(Exception):
    """The value is not of the type. `str(error)` says why, without the value."""


def string(value: Any) -> str:
    if isinstance(value, str) and not isinstance(value, Number):
        return value
    raise BadValue("not a string")


def long(value: Any) -> int:
    if not isinstance(value, Number):
        raise BadValue("not an integer")
    number = exact(value)
    if number != number.to_integral_value() or not _LONG_MIN <= number <= _LONG_MAX:
        raise BadValue("not a 64-bit integer")
    return int(number)


def double(value: Any) -> float:
    if not isinstance(value, Number):
        raise BadValue("not a number")
    number = float("0" if value == "-0" else value)  # -0 is an integer, and integers have one zero
    if number in (float("inf"), float("-inf")):
        raise BadValue("too large for a double")
    return number


def decimal(value: Any, precision: int, scale: int) -> Decimal:
    if not isinstance(value, Number):
        raise BadValue("not a number")
    number = exact(value)
    if number.copy_abs() >= Decimal(10) ** (precision - scale):
        raise BadValue(f"too large for decimal({precision},{scale})")
    try:
        fitted = number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    except InvalidOperation:
        raise BadValue(f"does not fit decimal({precision},{scale})") from None
    if fitted != number:
        raise BadValue(f"has more than {scale} fraction digits")
    return fitted or fitted.copy_abs()  # there is one zero


def exact(value: Number) -> Decimal:
    """The exact value of a number. An exponent that no column can hold is refused before it costs memory."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise BadValue("out of range") from None
    if not number:
        return Decimal(0)  # 0e999 is 0
    if abs(number.adjusted()) > 400:
        raise BadValue("out of range")
    return number


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise BadValue("not a boolean")


def timestamp(value: Any) -> dt.datetime:
    """RFC 3339, with or without a zone (none means UTC). Digits after the microseconds are cut off."""
    found = _TIMESTAMP.fullmatch(string(value))
    if not found:
        raise BadValue("not a timestamp")
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    microsecond = int((found[7] or "0").ljust(6, "0")[:6])
    zone = found[8] or "Z"
    offset = dt.timedelta()
    if zone not in "Zz":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        if int(digits[:2]) > 23 or int(digits[2:]) > 59:
            raise BadValue("not a timestamp (zone offset)")
        offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        offset = -offset if zone[0] == "-" else offset
    try:
        utc = dt.datetime(year, month, day, hour, minute, second, microsecond, dt.UTC) - offset
        return utc.replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise BadValue("not a timestamp (no such date or time)") from None


def date(value: Any) -> dt.date:
    text = string(value)
    if not _DATE.fullmatch(text):
        raise BadValue("not a date")
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise BadValue("not a date (no such day)") from None


def number_text(value: Number) -> str:
    """The text of a number in a map: the shortest that reads as the same double; of whole numbers all digits."""
    if "." not in value and "e" not in value and "E" not in value:
        return "0" if value == "-0" else str(value)
    number = float(value)
    return str(value) if number in (float("inf"), float("-inf")) else repr(number)


def text_map(value: Any) -> list[tuple[str, str | None]]:
    """A JSON object as pairs: a string as it is, null as None, any other value as its compact JSON text."""
    if not isinstance(value, JsonObject):
        raise BadValue("not an object")
    return [(key, _map_value(item)) for key, item in dict(value).items()]


def _map_value(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and not isinstance(value, Number):
        return value
    return compact_text(value)


def compact_text(value: Any) -> str:
    """Compact JSON text of a delivered value: keys in their order, numbers by `number_text`."""
    parts: list[str] = []
    _append_text(value, parts)
    return "".join(parts)


def _append_text(value: Any, parts: list[str]) -> None:  # one frame per level, so that deep values fit the stack
    if isinstance(value, JsonObject):
        separator = "{"
        for key, item in value:
            parts += separator, json_text(key), ":"
            _append_text(item, parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for item in value:
            parts.append(separator)
            _append_text(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        parts.append(number_text(value) if isinstance(value, Number) else json_text(value))


def json_text(value: Any) -> str:
    """The JSON text of a column's value that JSON has a literal for."""
    return _encode(value)


def timestamp_text(value: dt.datetime) -> str:
    """The JSON text of a naive UTC timestamp, with microseconds."""
    return json_text(value.isoformat(timespec="microseconds") + "Z")


def date_text(value: dt.date) -> str:
    return json_text(value.isoformat())


def decimal_text(value: Decimal) -> str:
    return str(value)  # a JSON number, with all digits


def map_text(value: Iterable[tuple[str, str | None]]) -> str:
    return json_text(dict(value))

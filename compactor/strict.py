"""One line of NDJSON, read by the letter: the exact rules of decoding, one line at a time.

The bulk of the lines never comes here. `decode` reads them in bulk, accepts only lines of whose meaning it is sure,
and hands every other line to `read_line`, which either accepts it (odd but valid) or says why it is rejected. What a
line becomes is a function of the line alone, so the way it was batched can never change a table.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation
from typing import Any

from compactor.registry import Dataset, Field

BLANK = None
MAX_DEPTH = 500
"""Levels of objects and arrays in a line, the record's own included: what every supported Python can parse."""
_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]')
_WIDE = Context(prec=40)  # the usual 28 digits are fewer than a decimal column may have
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


@dataclass(frozen=True)
class Reject:
    """Why a line is not a record. `detail` names fields, never values: it may be logged."""

    reason: str
    detail: str
    version: int | None = None


class _Number(str):
    """A JSON number as its text, so that no digit is lost before a type asks for it."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """A JSON object as its pairs: of a key that stands twice, the last counts, and a nested text keeps both."""

    __slots__ = ()


class _Bad(Exception):
    pass


def read_line(raw: bytes, dataset: Dataset) -> dict[str, Any] | Reject | None:
    """The record of a line as column -> value, a `Reject`, or None for a blank line.

    Values: str, int, float, bool, Decimal, naive UTC datetime in microseconds, date, and for maps (`extra` too) a
    list of (key, text or None) pairs.
    """
    if not raw.strip(b" \t\r\n"):
        return BLANK
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Reject("invalid_utf8", f"byte {error.start + 1} of the line is not UTF-8")
    if _too_deep(text):
        return Reject("not_json", f"nested deeper than {MAX_DEPTH} levels")
    try:
        record = _DECODER.decode(text.strip(" \t\r\n"))
        if "\\u" in text:
            _refuse_lone_surrogates(record)
    except UnicodeEncodeError:
        return Reject("not_json", "a lone surrogate escape has no character")
    except ValueError as error:
        position = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        return Reject("not_json", f"not valid JSON{position}")
    if not isinstance(record, _Object):
        return Reject("not_object", "the line is JSON but not an object")
    return _row(dict(record), dataset)


def _row(record: Mapping[str, Any], dataset: Dataset) -> dict[str, Any] | Reject:
    name = dataset.version_field.json
    if record.get(name) is None:
        return Reject("missing_field", f"field {name} is missing")
    try:
        version = _long(record[name])
    except _Bad as bad:
        return Reject("bad_value", f"field {name}: {bad}")
    if version not in dataset.versions:
        return Reject("unknown_version", f"version {version} is not in the registry", version)
    row: dict[str, Any] = {}
    fields = dataset.fields_of(version)
    for field in fields:
        value = record.get(field.json)
        if value is None:
            if field.required:
                return Reject("missing_field", f"field {field.json} is missing", version)
            continue
        try:
            row[field.column] = _converter(field)(value)
        except _Bad as bad:
            return Reject("bad_value", f"field {field.json}: {bad}", version)
    known = {field.json for field in fields}
    row["extra"] = [(key, _json_text(value)) for key, value in record.items() if key not in known]
    return row


def _converter(field: Field) -> Callable[[Any], Any]:
    decimal = _DECIMAL.fullmatch(field.type)
    if decimal:
        precision, scale = int(decimal[1]), int(decimal[2])
        return lambda value: _decimal(value, precision, scale)
    return _CONVERTERS[field.type]


def _string(value: Any) -> str:
    if isinstance(value, str) and not isinstance(value, _Number):
        return value
    raise _Bad("not a string")


def _long(value: Any) -> int:
    if not isinstance(value, _Number):
        raise _Bad("not an integer")
    number = _exact(value)
    if number != number.to_integral_value() or not _LONG_MIN <= number <= _LONG_MAX:
        raise _Bad("not a 64-bit integer")
    return int(number)


def _double(value: Any) -> float:
    if not isinstance(value, _Number):
        raise _Bad("not a number")
    number = float("0" if value == "-0" else value)  # -0 is an integer, and integers have one zero
    if number in (float("inf"), float("-inf")):
        raise _Bad("too large for a double")
    return number


def _decimal(value: Any, precision: int, scale: int) -> Decimal:
    if not isinstance(value, _Number):
        raise _Bad("not a number")
    number = _exact(value)
    if number.copy_abs() >= Decimal(10) ** (precision - scale):
        raise _Bad(f"too large for decimal({precision},{scale})")
    try:
        fitted = number.quantize(Decimal(1).scaleb(-scale), context=_WIDE)
    except InvalidOperation:
        raise _Bad(f"does not fit decimal({precision},{scale})") from None
    if fitted != number:
        raise _Bad(f"has more than {scale} fraction digits")
    return fitted


def _exact(value: _Number) -> Decimal:
    """The number's exact value. An exponent beyond any column's reach is refused before it costs memory."""
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise _Bad("out of range") from None
    if abs(number.adjusted()) > 400:
        raise _Bad("out of range")
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _Bad("not a boolean")


def _timestamp(value: Any) -> dt.datetime:
    """RFC 3339, with or without a zone (none means UTC); digits past the microsecond are cut off."""
    found = _TIMESTAMP.fullmatch(_string(value))
    if not found:
        raise _Bad("not a timestamp")
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    microsecond = int((found[7] or "0").ljust(6, "0")[:6])
    zone = found[8] or "Z"
    offset = dt.timedelta()
    if zone not in "Zz":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        if int(digits[:2]) > 23 or int(digits[2:]) > 59:
            raise _Bad("not a timestamp (zone offset)")
        offset = dt.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        offset = -offset if zone[0] == "-" else offset
    try:
        moment = dt.datetime(year, month, day, hour, minute, second, microsecond, dt.UTC) - offset
        return moment.replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise _Bad("not a timestamp (no such date or time)") from None


def _date(value: Any) -> dt.date:
    text = _string(value)
    if not _DATE.fullmatch(text):
        raise _Bad("not a date")
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise _Bad("not a date (no such day)") from None


def _map(value: Any) -> list[tuple[str, str | None]]:
    if not isinstance(value, _Object):
        raise _Bad("not an object")
    return [(key, _map_text(item)) for key, item in dict(value).items()]


def _map_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and not isinstance(value, _Number):
        return value
    return _json_text(value)


def _json_text(value: Any) -> str:
    """Compact JSON text: keys as delivered, in their order, numbers in the shortest form that reads back the same."""
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts)


def _write(value: Any, parts: list[str]) -> None:  # one frame a level, so that MAX_DEPTH levels fit the stack
    if isinstance(value, _Object):
        separator = "{"
        for key, item in value:
            parts += separator, json.dumps(key, ensure_ascii=False), ":"
            _write(item, parts)
            separator = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for item in value:
            parts.append(separator)
            _write(item, parts)
            separator = ","
        parts.append("]" if value else "[]")
    else:
        parts.append(_number_text(value) if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False))


def _number_text(value: _Number) -> str:
    if not any(mark in value for mark in ".eE"):
        return "0" if value == "-0" else str(value)
    number = float(value)
    return str(value) if number in (float("inf"), float("-inf")) else repr(number)


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


def _too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[1]:
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif found[0][0] != '"':
            depth -= 1
    return False


def _refuse_lone_surrogates(value: Any) -> None:
    r"""Raises UnicodeEncodeError at a text with half of a pair (\\ud800): legal to Python, and no character at all."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            item.encode("utf-8")
        elif isinstance(item, _Object):
            todo += [part for pair in item for part in pair]
        elif isinstance(item, list):
            todo += item


_DECODER = json.JSONDecoder(
    parse_float=_Number, parse_int=_Number, parse_constant=_no_constant, object_pairs_hook=_Object
)
_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "string": _string,
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "date": _date,
    "map": _map,
}

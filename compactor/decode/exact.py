"""One line of NDJSON, read by the letter: the exact rules of decoding, one line at a time.

The bulk of the lines never comes here. `decode` reads them in bulk, accepts only lines of whose meaning it is sure,
and hands every other line to `read_line`, which either accepts it (odd but valid) or says why it is rejected. What a
line becomes is a function of the line alone, so the way it was batched can never change a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from compactor.registry import expressions
from compactor.registry.dataset import Dataset
from compactor.types import json_values
from compactor.types.field_type import FieldType
from compactor.types.json_values import BadValue, JsonObject, Number

BLANK = None
MAX_DEPTH = 500
"""Levels of objects and arrays in a line, the record's own included: what every supported Python can parse."""
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|[\]}]')


@dataclass(frozen=True)
class Reject:
    """Why a line is not a record. `detail` names fields, never values: it may be logged."""

    reason: str
    detail: str
    version: int | None = None


class Kind(StrEnum):
    """What a JSON value is. A number is whole if it is written so."""

    STRING = "string"
    WHOLE = "whole"
    FRACTION = "fraction"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"
    NULL = "null"


def read_line(raw: bytes, dataset: Dataset) -> dict[str, Any] | Reject | None:
    """The record of a line as column -> value, a `Reject`, or None for a blank line.

    Values: str, int, float, bool, Decimal, naive UTC datetime in microseconds, date, and for maps (`extra` too) a
    list of (key, text or None) pairs.
    """
    record = read_object(raw)
    return read_record(record, dataset) if isinstance(record, dict) else record


def read_object(raw: bytes) -> dict[str, Any] | Reject | None:
    """The JSON object of a line, whatever its fields; a `Reject`, or None for a blank line.

    What its values are is for `json_kind` and `as_type` to say.
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
    if not isinstance(record, JsonObject):
        return Reject("not_object", "the line is JSON but not an object")
    return dict(record)


def read_record(record: Mapping[str, Any], dataset: Dataset) -> dict[str, Any] | Reject:
    """What `read_line` makes of an object that `read_object` gave."""
    name = dataset.version_field.json
    if record.get(name) is None:
        return Reject("missing_field", f"field {name} is missing")
    try:
        version = json_values.long(record[name])
    except BadValue as bad:
        return Reject("bad_value", f"field {name}: {bad}")
    if version not in dataset.versions:
        return Reject("unknown_version", dataset.why_unknown(version), version)
    row: dict[str, Any] = {}
    fields = dataset.versions[version].fields
    for field in fields:
        value = record.get(field.json)
        if value is None:
            if field.required:
                return Reject("missing_field", f"field {field.json} is missing", version)
            continue
        try:
            row[field.column] = field.type.read(value)
        except BadValue as bad:
            return Reject("bad_value", f"field {field.json}: {bad}", version)
    try:
        row = expressions.row(dataset.upgrades(version), row)
    except expressions.BadUpgrade as bad:
        return Reject("bad_value", str(bad), version)
    known = {field.json for field in fields}
    row["extra"] = [(key, json_values.compact_text(value)) for key, value in record.items() if key not in known]
    return row


def as_type(value: Any, type_: FieldType) -> Any:
    """A value of `read_object` as a column of that type holds it; None if it does not fit."""
    try:
        return type_.read(value)
    except BadValue:
        return None


def json_kind(value: Any) -> Kind:
    """The kind of a value of `read_object`."""
    if isinstance(value, Number):
        return Kind.FRACTION if "." in value or "e" in value or "E" in value else Kind.WHOLE
    if isinstance(value, JsonObject):
        return Kind.OBJECT
    if isinstance(value, list):
        return Kind.ARRAY
    if isinstance(value, bool):
        return Kind.BOOLEAN
    return Kind.NULL if value is None else Kind.STRING


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
        elif isinstance(item, JsonObject):
            todo += [part for pair in item for part in pair]
        elif isinstance(item, list):
            todo += item


_DECODER = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=_no_constant, object_pairs_hook=JsonObject
)

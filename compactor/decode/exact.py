"""The exact rules of decoding, for one line of NDJSON at a time.

Most lines never come here. `decode.scanner` accepts the lines whose values it is sure of, and `decode.decoder` passes
each other line to `read_line`. That either accepts the line (unusual, but valid) or says why it is rejected. The result
depends on the line alone, so that batches can never change a table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np

from compactor.decode import rejects
from compactor.decode.content import MARK
from compactor.decode.rejects import Reject
from compactor.registry import expressions
from compactor.registry.dataset import Dataset
from compactor.types import json_values
from compactor.types.field_type import FieldType
from compactor.types.json_values import BadValue, JsonObject, Number

BLANK = None
MAX_DEPTH = 500
"""Levels of nested objects and arrays in a line, with the record itself: each supported Python can parse so many."""
# Possessive, and a text that is never closed reaches to the end: else a line of quotes takes the square of its length.
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*+"?')
_LEVELS = np.zeros(256, np.int8)
_LEVELS[list(b"[{")], _LEVELS[list(b"]}")] = 1, -1


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

    `json_kind` and `as_type` interpret its values.
    """
    if not raw.strip(b" \t\r\n"):
        return BLANK
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return rejects.invalid_utf8(error.start)
    if text.startswith(MARK):
        return rejects.byte_order_mark()
    if _too_deep(text):
        return rejects.too_deep(MAX_DEPTH)
    try:
        record = _DECODER.decode(text.strip(" \t\r\n"))
        if "\\u" in text:
            _refuse_lone_surrogates(record)
    except UnicodeEncodeError:
        return rejects.lone_surrogate()
    except ValueError as error:
        return rejects.not_json(error.pos if isinstance(error, json.JSONDecodeError) else None)
    if not isinstance(record, JsonObject):
        return rejects.not_object()
    return dict(record)


def read_record(record: Mapping[str, Any], dataset: Dataset) -> dict[str, Any] | Reject:
    """The record of an object that `read_object` has returned, as `read_line` returns it."""
    name = dataset.version_field.json
    if record.get(name) is None:
        return rejects.missing_field(name)
    try:
        version = json_values.long(record[name])
    except BadValue as bad:
        return rejects.bad_value(name, str(bad))
    if version not in dataset.versions:
        return rejects.unknown_version(version, dataset.why_unknown(version))
    row: dict[str, Any] = {}
    fields = dataset.versions[version].fields
    for field in fields:
        value = record.get(field.json)
        if value is None:
            if field.required:
                return rejects.missing_field(field.json, version)
            continue
        try:
            row[field.column] = field.type.read(value)
        except BadValue as bad:
            return rejects.bad_value(field.json, str(bad), version)
    try:
        row = expressions.row(dataset.upgrades(version), row)
    except expressions.BadUpgrade as bad:
        return rejects.bad_upgrade(str(bad), version)
    known = {field.json for field in fields}
    row["extra"] = [(key, json_values.compact_text(value)) for key, value in record.items() if key not in known]
    promoted = {each.column: each.value(row) for each in dataset.promoted}
    return {**row, **{column: value for column, value in promoted.items() if value is not None}}


def as_type(value: Any, type_: FieldType) -> Any:
    """A value of `read_object` as a column of the type has it; None if it is not of the type."""
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
    raise ValueError(name)  # Python would accept NaN and Infinity, which are not JSON


def _too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    marks = np.frombuffer(_TEXT.sub("", text).encode("utf-8"), np.uint8)
    return bool(np.cumsum(_LEVELS[marks], dtype=np.int32).max(initial=0) > MAX_DEPTH)


def _refuse_lone_surrogates(value: Any) -> None:
    r"""Raises UnicodeEncodeError for a string with half of a surrogate pair (\\ud800), which Python alone accepts."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            item.encode("utf-8")
        elif isinstance(item, JsonObject):
            todo += [part for pair in item for part in pair]
        elif isinstance(item, list):
            todo += item


_number = lru_cache(1024)(Number)  # a line of numbers has an object for each, of fifty times its size
_DECODER = json.JSONDecoder(
    parse_float=_number, parse_int=_number, parse_constant=_no_constant, object_pairs_hook=JsonObject
)

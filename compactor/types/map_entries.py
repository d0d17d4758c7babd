"""What an entry of a map is in a typed column: of a promoted key, and of a field that a run makes a column of.

A map keeps texts. Those of `extra` are JSON, and are read as a declared field of the type reads that JSON value. The
other maps keep a string as it is and any other value as its JSON text, so that the string "5" and the number 5 look the
same there: their texts are read by `casts.text_reading`, as a string of an older version is. In a string column, any
value is its text. What does not fit is NULL in the column; the map keeps it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from compactor.duck.sql import literal
from compactor.types.casts import TextReading, text_reading
from compactor.types.field_type import DATE, STRING, TIMESTAMP, FieldType
from compactor.types.json_values import BadValue

_PLAIN = re.compile(r'"[^"\\]*"')
_IS_PLAIN = f"regexp_full_match({{x}}, {literal(_PLAIN.pattern)})"


@dataclass(frozen=True)
class EntryReading:
    """How the text of a map's entry is read. It exists twice, as a conversion does (see `casts`).

    Attributes:
        value: the column's value of one text, None where it does not fit.
        sql: the same for a column of texts, `{x}`.
        certain: SQL condition under which `sql` gives what `value` gives. NULL texts are certain.
    """

    value: Callable[[str], Any]
    sql: str
    certain: str


@cache
def entry_reading(to: FieldType, *, is_json: bool) -> EntryReading:
    """How entries become values of a type, which is no map. `is_json`: the texts are JSON, and none is `null`."""
    if to == STRING:
        return EntryReading(_string_of_json if is_json else str, _STRING_OF_JSON if is_json else "{x}", "true")
    reading = text_reading(to)
    assert reading is not None
    if not is_json or to not in (TIMESTAMP, DATE):
        # JSON has its own literals for the other types: a text in quotes is none of them.
        return _entries(reading, reading.value, "{x}")
    content = f"CASE WHEN {_IS_PLAIN} THEN substr({{x}}, 2, length({{x}}) - 2) END"
    return _entries(reading, lambda text: to.read(_plain_string(text)), f"({content})")


def _entries(reading: TextReading, read: Callable[[str], Any], text: str) -> EntryReading:
    def value(given: str) -> Any:
        try:
            return read(given)
        except BadValue:
            return None

    sql, certain = reading.sql.replace("{x}", text), reading.certain.replace("{x}", text)
    return EntryReading(value, sql, f"coalesce({certain}, true)")


def _plain_string(text: str) -> str:
    """The content of a JSON string that has no escapes, as a date or a timestamp has none."""
    if not _PLAIN.fullmatch(text):
        raise BadValue("not a string")
    return text[1:-1]


def _string_of_json(text: str) -> str | None:
    """A string as it is, any other value as its JSON text. None where another engine has written no JSON."""
    if not text.startswith('"'):
        return text
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, str) else None


_STRING_OF_JSON = (
    f"CASE WHEN NOT starts_with({{x}}, '\"') THEN {{x}}"
    f" WHEN {_IS_PLAIN} THEN substr({{x}}, 2, length({{x}}) - 2)"
    " ELSE try(json_extract_string({x}, '$')) END"
)

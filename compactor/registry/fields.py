"""A field of a record and the column it becomes: names, types, and what neither may be."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from compactor.types import field_type
from compactor.types.field_type import MAP, SCALAR_NAMES, STRING, FieldType
from compactor.yaml_file import Place, did_you_mean

RESERVED_COLUMNS = ("extra", "source_file", "source_line")  # every table of records has them by itself
_ENGINE_COLUMNS = ("file_no", "line_no", "ok", "rowid", "top", "_id", "_file", "_partition", "_n", "_sure")
"""What the program calls columns of its own beside a record's, in a session."""

Mistake = tuple[Place, str]


@dataclass(frozen=True)
class Field:
    """A field of a record.

    Attributes:
        json: its key in the JSON object.
        column: its column in the tables.
        type: what its values are; timestamps are UTC with microseconds, maps are of strings.
        required: a record without it, or with null in it, is quarantined.
    """

    json: str
    column: str
    type: FieldType
    required: bool


def column_name(json: str) -> str:
    """Lower snake case of a JSON key: `roverID` is `rover_id`, `HTMLTitle` is `html_title`, `utm-source` `utm_source`.

    A word begins at a capital after a small letter or digit, and at the last capital of a run before a small letter.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", json)
    return re.sub(r"[\s.-]+", "_", words).lower()


def type_of(text: str) -> FieldType:
    """The type that a text names. For a text that names none, a stand-in of that name: it lets other checks go on."""
    return field_type.parse(text) or replace(STRING, name=text)


def is_other_type(found: FieldType, *expected: FieldType) -> bool:
    """Whether a type is none of the expected ones. A stand-in of `type_of` is not: its own mistake is reported."""
    return found not in expected and field_type.parse(found.name) is not None


def type_mistake(text: str, *, maps: bool = False) -> str | None:
    """What is wrong with a type as written in the registry. None: nothing."""
    names = (*SCALAR_NAMES, MAP.name) if maps else SCALAR_NAMES
    if not text:
        return f"has no type; give it one of {', '.join(names)}"
    found = field_type.parse(text)
    if found and (maps or found != MAP):
        return None
    if field_type.is_like_decimal(text):
        return 'should be a decimal(P,S), S <= P <= 38; in {…}, put it in "quotes": it has a comma'
    return f"has the unknown type '{text}'{did_you_mean(text, names)}"


def column_mistake(column: str) -> str | None:
    if column in RESERVED_COLUMNS:
        return f"column '{column}' is one that every table has by itself; give it another `column`"
    if column in _ENGINE_COLUMNS:
        return f"column '{column}' has a name that the program itself uses; give it another `column`"
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,254}", column):
        return f"column '{column[:60]}' should be a-z, 0-9 and _, no digit first, 255 at most; give it a `column`"
    return None

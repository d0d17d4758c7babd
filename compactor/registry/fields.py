"""A field of a record and the column it becomes: names, types, and what neither may be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from compactor.yaml_file import Place, did_you_mean

RESERVED_COLUMNS = ("extra", "source_file", "source_line")  # every table of records has them by itself
_ENGINE_COLUMNS = ("file_no", "line_no", "ok", "rowid", "top", "_id", "_file", "_partition", "_n", "_sure")
"""What the program calls columns of its own beside a record's, in a session."""
SCALAR_TYPES = ("string", "long", "double", "boolean", "timestamp", "date", "decimal(P,S)")
MAX_PRECISION = 38  # digits of a decimal, in Iceberg and in the engines

Mistake = tuple[Place, str]


@dataclass(frozen=True)
class Field:
    """A field of a record.

    Attributes:
        json: its key in the JSON object.
        column: its column in the tables.
        type: string, long, double, boolean, timestamp (UTC, microseconds), date, decimal(P,S) or map (to strings).
        required: a record without it, or with null in it, is quarantined.
    """

    json: str
    column: str
    type: str
    required: bool


def column_name(json: str) -> str:
    """Lower snake case of a JSON key: `roverID` is `rover_id`, `HTMLTitle` is `html_title`, `utm-source` `utm_source`.

    A word begins at a capital after a small letter or digit, and at the last capital of a run before a small letter.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", json)
    return re.sub(r"[\s.-]+", "_", words).lower()


def normal_type(text: str) -> str | None:
    """A type as `Field.type` has it, a decimal without spaces. None if it is no type."""
    if text == "map" or text in SCALAR_TYPES[:-1]:
        return text
    if decimal := re.fullmatch(r"decimal\( *(\d{1,2}) *, *(\d{1,2}) *\)", text):
        precision, scale = int(decimal[1]), int(decimal[2])
        return f"decimal({precision},{scale})" if max(scale, 1) <= precision <= MAX_PRECISION else None
    return None


def type_mistake(text: str, types: tuple[str, ...]) -> str | None:
    if not text:
        return f"has no type; give it one of {', '.join(types)}"
    if normal_type(text) not in (None, "map") or text in types:
        return None
    if text.startswith("decimal"):
        return 'should be a decimal(P,S), S <= P <= 38; in {…}, put it in "quotes": it has a comma'
    return f"has the unknown type '{text}'{did_you_mean(text, types)}"


def column_mistake(column: str) -> str | None:
    if column in RESERVED_COLUMNS:
        return f"column '{column}' is one that every table has by itself; give it another `column`"
    if column in _ENGINE_COLUMNS:
        return f"column '{column}' has a name that the program itself uses; give it another `column`"
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,254}", column):
        return f"column '{column[:60]}' should be a-z, 0-9 and _, no digit first, 255 at most; give it a `column`"
    return None

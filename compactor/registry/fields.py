"""A field of a record and its column: the rules for their names and types."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass, replace
from itertools import chain, count

from compactor.types import field_type
from compactor.types.field_type import MAP, SCALAR_NAMES, STRING, FieldType
from compactor.yaml_file import Place, did_you_mean

RESERVED_COLUMNS = ("extra", "source_file", "source_line")
"""Columns that the program adds to each table of records."""
PROGRAM_PREFIX = "__"
"""How the columns begin that the program adds to records in a session: no record's column begins so."""
_ENGINE_COLUMNS = (
    *("_file", "_pos", "_partition", "_spec_id", "_deleted", "_row_id", "_last_updated_sequence_number"),  # Iceberg's
    *("_change_type", "_change_ordinal", "_commit_snapshot_id"),  # Iceberg's, in Spark's change logs
    "rowid",  # DuckDB's
)
"""Names that an engine gives to columns of its own for each table: it would refuse a real column, or hide its own."""
_DIGITS_OF_AN_ID = 6
_LONGEST_COLUMN = 255  # in Athena and Glue

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


def names_version(json: str) -> bool:
    """Whether a JSON key names a version, such as `osVersion`. Its values look like numbers and are none.

    As numbers, 17.1 and 17.10 are the same, and 17.1.2 does not fit.
    """
    return column_name(json).endswith("version")


def may_be_value(key: str) -> bool:
    """Whether a JSON key may be a value that a record uses as a key: an address, a number, a date, an id.

    Such a key may be personal, so it is never shown.
    """
    digits = sum(each.isdigit() for each in key)
    return (
        "@" in key
        or "://" in key
        or digits >= _DIGITS_OF_AN_ID
        or (digits > 0 and not any(each.isalpha() for each in key))
    )


def type_of(text: str) -> FieldType:
    """The type that a text names. For a text that names none, a stand-in of that name, so that other checks can run."""
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
    """What is wrong with the name of a record's column. None: nothing."""
    if column in RESERVED_COLUMNS:
        return f"column '{column}' is in each table already; give it another `column`"
    if column.startswith(PROGRAM_PREFIX):
        return f"column '{column[:60]}' begins with '__', as only the program's own do; give it another `column`"
    if column in _ENGINE_COLUMNS:
        return f"column '{column}' has a name that query engines keep for themselves; give it another `column`"
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", column) or len(column) > _LONGEST_COLUMN:
        return (
            f"column '{column[:60]}' should be a-z, 0-9 and _, no digit first, {_LONGEST_COLUMN} at most;"
            " give it a `column`"
        )
    return None


def free_column(json: str, taken: Container[str], *, prefix: str) -> str:
    """A column for a JSON key that the registry accepts and that is not taken.

    It is that of `column_name` if possible. Else it is made of letters, digits and single underscores, after `prefix`
    or before a number if that name is taken too.
    """
    name = re.sub(r"[^a-z0-9]+", "_", column_name(json)).strip("_")[: _LONGEST_COLUMN - 20] or "key"
    name = f"key_{name}" if name[0].isdigit() else name
    names = chain((column_name(json), name, f"{prefix}_{name}"), (f"{name}_{number}" for number in count(2)))
    return next(each for each in names if each not in taken and column_mistake(each) is None)

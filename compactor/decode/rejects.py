"""Why a line is rejected: the name of each reason, and the one function that makes its `Reject`.

The names are part of the table `compactor_quarantine` and of reports: they never change. A detail names fields, never
their values, so that it may be logged.
"""

from __future__ import annotations

from dataclasses import dataclass

INVALID_UTF8 = "invalid_utf8"
LINE_TOO_LONG = "line_too_long"
NOT_JSON = "not_json"
NOT_OBJECT = "not_object"
MISSING_FIELD = "missing_field"
BAD_VALUE = "bad_value"
UNKNOWN_VERSION = "unknown_version"

NOT_KEPT_WHOLE = (INVALID_UTF8, LINE_TOO_LONG)
"""Reasons of lines whose bytes the quarantine does not have: such a line cannot be read again."""
DEPENDS_ON_REGISTRY = (MISSING_FIELD, BAD_VALUE, UNKNOWN_VERSION)
"""Reasons that another registry could remove."""


@dataclass(frozen=True)
class Reject:
    """Why a line is not a record.

    Attributes:
        reason: one of the names of this module.
        detail: what is wrong, for people.
        version: the schema version of the record, where it is known.
    """

    reason: str
    detail: str
    version: int | None = None


def invalid_utf8(start: int) -> Reject:
    """`start` is the 0-based position of the first bad byte in the line."""
    return Reject(INVALID_UTF8, f"byte {start + 1} is not UTF-8")


def line_too_long(limit: int) -> Reject:
    """`limit` is in bytes."""
    return Reject(LINE_TOO_LONG, f"longer than the limit of {limit} bytes")


def not_json(position: int | None) -> Reject:
    """`position` is the 0-based position of the first character that is not JSON, if the parser gives one."""
    place = "" if position is None else f" at character {position + 1}"
    return Reject(NOT_JSON, f"not valid JSON{place}")


def too_deep(levels: int) -> Reject:
    """`levels` is how many objects and arrays may be nested."""
    return Reject(NOT_JSON, f"nested deeper than {levels} levels")


def lone_surrogate() -> Reject:
    return Reject(NOT_JSON, "a lone surrogate escape has no character")


def not_object() -> Reject:
    return Reject(NOT_OBJECT, "the line is JSON but not an object")


def missing_field(name: str, version: int | None = None) -> Reject:
    """A required field, by its JSON key, is absent or null."""
    return Reject(MISSING_FIELD, f"field {name} is missing", version)


def bad_value(name: str, why: str, version: int | None = None) -> Reject:
    """The value of a field, by its JSON key, is not of the field's type."""
    return Reject(BAD_VALUE, f"field {name}: {why}", version)


def bad_upgrade(why: str, version: int) -> Reject:
    """A value of an older version has no counterpart in the newest version; `why` names the column."""
    return Reject(BAD_VALUE, why, version)


def unknown_version(version: int, why: str) -> Reject:
    """The tables do not have the record's version; `why` ends with what to do."""
    return Reject(UNKNOWN_VERSION, why, version)

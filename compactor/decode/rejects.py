"""Why a line is rejected: the name of each reason, and the one function that makes its `Reject`.

The names are part of the table `compactor_quarantine` and of reports: they never change. A detail names fields, never
their values, so that it may be logged.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

INVALID_UTF8 = "invalid_utf8"
LINE_TOO_LONG = "line_too_long"
NOT_JSON = "not_json"
NOT_OBJECT = "not_object"
MISSING_FIELD = "missing_field"
BAD_VALUE = "bad_value"
UNKNOWN_VERSION = "unknown_version"

DEPENDS_ON_REGISTRY = (MISSING_FIELD, BAD_VALUE, UNKNOWN_VERSION)
"""Reasons that another registry could remove: a replay reads these lines again, and no others."""
RAW_BYTES = 1 << 20
"""Bytes that the quarantine keeps of a line that no registry can make a record. Other lines are kept whole."""

REJECTED = {
    "file_no": "INTEGER",
    "line_no": "BIGINT",
    "version": "BIGINT",
    "reason": "VARCHAR",
    "detail": "VARCHAR",
    "raw": "VARCHAR",
}
"""The columns of rejected lines."""
_SCHEMA = pa.schema(
    [
        ("file_no", pa.int32()),
        ("line_no", pa.int64()),
        ("version", pa.int64()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("raw", pa.large_string()),
    ]
)
_ROWS = 8192


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


class RejectedLines:
    """Rejected lines, kept as columns: there can be millions of them."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._rows: list[tuple[int, int, int | None, str, str, str]] = []

    def add(self, file_no: int, line_no: int, reject: Reject, raw: bytes) -> None:
        """Adds a line. `raw` may end with its newline, which is not kept."""
        kept = raw.rstrip(b"\r\n")
        if reject.reason not in DEPENDS_ON_REGISTRY:
            kept = self._beginning(kept)
        # Bytes that are not UTF-8 are kept readable as \xNN: the column is text.
        text = kept.decode("utf-8", "backslashreplace")
        self._rows.append((file_no, line_no, reject.version, reject.reason, reject.detail, text))
        if len(self._rows) == _ROWS:
            self._to_columns()

    def table(self) -> pa.Table:
        """All of them, with the columns of `REJECTED`."""
        self._to_columns()
        return pa.concat_tables(self._tables) if self._tables else _SCHEMA.empty_table()

    @staticmethod
    def _beginning(line: bytes) -> bytes:
        """The first RAW_BYTES, without a character that these would cut."""
        end = min(RAW_BYTES, len(line))
        while RAW_BYTES - 3 <= end < len(line) and line[end] & 0xC0 == 0x80:  # a byte within a character
            end -= 1
        return line[:end]

    def _to_columns(self) -> None:
        if self._rows:
            self._tables.append(pa.table(list(zip(*self._rows, strict=True)), schema=_SCHEMA))
            self._rows = []


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


def byte_order_mark() -> Reject:
    return Reject(NOT_JSON, "begins with a byte order mark, which JSON does not have")


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

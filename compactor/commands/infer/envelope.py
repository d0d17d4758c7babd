"""Finds the fields of the envelope, which every record has: its id, its version and its time of emission. Pure.

A field with the registry's own name is used as it is. Otherwise the words of the names and the values decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compactor.decode.exact import as_type
from compactor.registry.fields import column_name, may_be_value
from compactor.types.field_type import LONG, STRING, TIMESTAMP, FieldType

Records = Sequence[Mapping[str, Any]]

_VERSIONS = ("schema_version", "record_version", "format_version", "ver", "v", "schema")
_IDS = ("record_id", "_id", "uuid", "guid", "record", "record_uuid", "record_key", "row_id", "event_id", "message_id",
        "dedup_id", "insert_id", "event_uuid", "delivery_id", "hash")  # fmt: skip
_ENTITIES = {"user", "fan", "member", "customer", "account", "profile", "person", "contact", "device", "client",
             "owner", "subject", "entity", "player", "team", "session", "parent", "from", "to", "external"}  # fmt: skip
_EMITTED = ("emitted", "exported", "sent", "published", "ingested", "delivered", "produced", "extracted", "received",
            "loaded", "written")  # fmt: skip
_NEARLY_ALL = 0.95


@dataclass(frozen=True)
class Envelope:
    """The JSON names of a record's id and of its time of emission; None if no field matches."""

    id: str | None
    emitted_at: str | None


def name_words(name: str) -> list[str]:
    """The words of a JSON name, in lower case: `roverID` is rover, id."""
    return column_name(name).split("_")


def version_field(records: Records) -> str | None:
    """The JSON name of the field with a record's version; None if no field matches."""
    names = _names(records)
    for name in names:
        if column_name(name) == "version" and _share(records, name, LONG) > 0.5:
            return name
    return _first([name for name in names if _share(records, name, LONG) >= _NEARLY_ALL], _VERSIONS)


def envelope(records: Records) -> Envelope:
    """The envelope of records of one version."""
    names = _names(records)
    return Envelope(_id(records, names), _emitted_at(records, names))


def _id(records: Records, names: Sequence[str]) -> str | None:
    """Never the id of an entity: used as the id of a record, it would merge all records of the entity into one."""
    for name in names:
        if column_name(name) == "id" and _share(records, name, STRING) > 0.5:
            return name
    unique = [
        name
        for name in names
        if _share(records, name, STRING) >= _NEARLY_ALL
        and len({text for record in records if isinstance(text := record.get(name), str)}) >= _NEARLY_ALL * len(records)
    ]
    likely = (
        name
        for name in unique
        if name_words(name)[-1] in ("id", "uuid", "guid") and not _ENTITIES & {*name_words(name)}
    )
    return _first(unique, _IDS) or next(likely, None)


def _emitted_at(records: Records, names: Sequence[str]) -> str | None:
    for name in names:
        if column_name(name) == "emitted_at" and _share(records, name, TIMESTAMP) > 0.5:
            return name
    timestamps = [name for name in names if _share(records, name, TIMESTAMP) >= _NEARLY_ALL]
    by_word = [name for word in _EMITTED for name in timestamps if word in name_words(name)]
    if by_word or not timestamps:
        return by_word[0] if by_word else None
    # A record is emitted after all that it describes.
    return max(timestamps, key=lambda name: sum(_is_latest(record, name, timestamps) for record in records))


def _is_latest(record: Mapping[str, Any], name: str, timestamps: Sequence[str]) -> bool:
    values = {each: as_type(record.get(each), TIMESTAMP) for each in timestamps}
    own = values[name]
    return own is not None and all(other is None or own >= other for other in values.values())


def _names(records: Records) -> list[str]:
    """The fields that most of the records have, in the order in which they first occur."""
    counts: dict[str, int] = {}
    for record in records:
        for name in record:
            counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count * 2 > len(records) and not may_be_value(name)]


def _share(records: Records, name: str, type_: FieldType) -> float:
    return sum(as_type(record.get(name), type_) is not None for record in records) / max(len(records), 1)


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The name whose column comes first in `columns`."""
    return next((name for column in columns for name in names if column_name(name) == column), None)

"""What the fields are called that every record has: its id, its version and when it was emitted. Pure.

A name that is ours as it stands is taken. Else a name is guessed, from words and from what the values are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compactor.decode.exact import as_type
from compactor.registry.fields import column_name
from compactor.types.field_type import LONG, STRING, TIMESTAMP, FieldType

# Whatever else stands as a name may be a value: an address, a number, an id that a record uses as a key.
_NAME = re.compile(r"(?!(?:\D*\d){6})[A-Za-z_$][\w $./:-]{0,59}", re.ASCII)

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
    """JSON names of a record's id and of when it was emitted; None where no field looks like it."""

    id: str | None
    emitted_at: str | None


def is_name(text: str) -> bool:
    """Whether a field's name may be shown."""
    return _NAME.fullmatch(text) is not None


def version_field(records: Records) -> str | None:
    """The field that tells a record's version; None if no field looks like it."""
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
    """Never the name of an entity: taken for the id of a record, it would make one of all that the entity did."""
    for name in names:
        if column_name(name) == "id" and _share(records, name, STRING) > 0.5:
            return name
    unique = [
        name
        for name in names
        if _share(records, name, STRING) >= _NEARLY_ALL
        and len({text for record in records if isinstance(text := record.get(name), str)}) >= _NEARLY_ALL * len(records)
    ]
    likely = (name for name in unique if _words(name)[-1] in ("id", "uuid", "guid") and not _ENTITIES & {*_words(name)})
    return _first(unique, _IDS) or next(likely, None)


def _emitted_at(records: Records, names: Sequence[str]) -> str | None:
    for name in names:
        if column_name(name) == "emitted_at" and _share(records, name, TIMESTAMP) > 0.5:
            return name
    moments = [name for name in names if _share(records, name, TIMESTAMP) >= _NEARLY_ALL]
    by_word = [name for word in _EMITTED for name in moments if word in _words(name)]
    if by_word or not moments:
        return by_word[0] if by_word else None
    # Whatever a record tells of was before it was told.
    return max(moments, key=lambda name: sum(_latest(record, name, moments) for record in records))


def _latest(record: Mapping[str, Any], name: str, moments: Sequence[str]) -> bool:
    values = {each: as_type(record.get(each), TIMESTAMP) for each in moments}
    own = values[name]
    return own is not None and all(other is None or own >= other for other in values.values())


def _names(records: Records) -> list[str]:
    """The fields that most of the records have, in the order of the first that has them."""
    counts: dict[str, int] = {}
    for record in records:
        for name in record:
            counts[name] = counts.get(name, 0) + 1
    return [name for name, count in counts.items() if count * 2 > len(records) and is_name(name)]


def _share(records: Records, name: str, type_: FieldType) -> float:
    return sum(as_type(record.get(name), type_) is not None for record in records) / max(len(records), 1)


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    """The name whose column stands first in `columns`."""
    return next((name for column in columns for name in names if column_name(name) == column), None)


def _words(name: str) -> list[str]:
    return column_name(name).split("_")

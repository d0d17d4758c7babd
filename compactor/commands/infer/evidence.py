"""The evidence in a sample of lines: names of fields, JSON kinds, counts. Pure, and without any record's values.

Each value becomes a 64-bit code (a hash, a number, a timestamp). Codes can be counted and compared, nothing else. There
are statistics for each `version`, because the meaning of a field may change between versions.
"""

from __future__ import annotations

import datetime as dt
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from compactor.commands.infer.envelope import Envelope, envelope, version_field
from compactor.decode import rejects
from compactor.decode.exact import Kind, as_type, json_kind, read_object
from compactor.decode.rejects import Reject
from compactor.registry.fields import may_be_value
from compactor.types.field_type import BOOLEAN, DATE, DOUBLE, LONG, MAP, STRING, TIMESTAMP, FieldType

Codes = npt.NDArray[np.int64]
Coding = Literal["text", "number", "timestamp"]

DELETE_WORDS = frozenset(("delete", "deleted", "remove", "removed", "tombstone"))
OTHER_WORDS = frozenset(
    ("upsert", "upserted", "insert", "inserted", "update", "updated", "create", "created", "add", "added", "set", "put",
     "change", "changed", "modify", "modified", "merge", "merged", "replace", "replaced", "snapshot", "read", "active",
     "link", "linked", "unlink", "unlinked", "attach", "attached", "detach", "detached")
)  # fmt: skip
"""Words of operations. They are the only values that are ever shown: they identify nobody."""
MAX_FIELDS = 400
"""Names of fields that are examined in a version. Records that use values as keys have any number of them."""
_LONGEST_NAME = 60  # characters; a longer one is a text
_MAX_VERSIONS = 16
_CODED_FIELDS = 64
_FIRST_RECORDS = 500
_FIRST_BYTES = 8 << 20
_FEW = 20
_RARE, _MANY_RARE = 0.02, 50
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  # decoding gives naive UTC as well
_MICROSECOND = dt.timedelta(microseconds=1)


@dataclass
class FieldEvidence:
    """One field of one version.

    Attributes:
        records: records that have the field, null or not.
        nulls: records that have null in it.
        kinds: records by kind: string, long, fraction, beyond (whole, but more than 64 bits), huge (too large for a
            double), boolean, object, array.
        timestamps, dates: records whose string reads as a timestamp, or as a date.
        words: word of DELETE_WORDS or OTHER_WORDS, as written -> records that have it.
        distinct: hashes of the distinct texts, until there are too many.
        coding: what `codes` holds: hashes of texts, whole numbers, or timestamps in microseconds since 1970.
        codes: one for each record of the version; None after a record without a value of that coding.
    """

    records: int = 0
    nulls: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    timestamps: int = 0
    dates: int = 0
    words: Counter[str] = field(default_factory=Counter)
    distinct: set[int] = field(default_factory=set)
    coding: Coding | None = None
    codes: array[int] | None = None

    @property
    def filled(self) -> int:
        """Records with a value that is not null."""
        return self.records - self.nulls

    @property
    def few(self) -> bool:
        """Whether the field holds few distinct texts: `len(distinct)` of them."""
        return 0 < len(self.distinct) <= _FEW

    def add(self, value: Any, before: int) -> None:
        """Adds the value of one record. `before` is the number of records of the version before it."""
        self.records += 1
        kind = json_kind(value)
        if kind is Kind.NULL:
            self.nulls += 1
            self.codes = None
            return
        code: int | None = None
        coding: Coding | None = None
        if kind is Kind.STRING:
            code, coding = self._add_text(value)
            self.kinds[Kind.STRING] += 1
        elif kind in (Kind.WHOLE, Kind.FRACTION):
            code, coding = self._add_number(value, kind)
        else:
            self.kinds[kind] += 1
        if self.codes is not None:
            self.coding = self.coding or coding
            if code is None or coding != self.coding or len(self.codes) != before:
                self.codes = None
            else:
                self.codes.append(code)

    def _add_text(self, text: str) -> tuple[int, Coding]:
        code = hash(text)
        if len(self.distinct) <= _FEW:
            self.distinct.add(code)
            if text.lower() in DELETE_WORDS | OTHER_WORDS and text in (text.lower(), text.upper(), text.capitalize()):
                self.words[text] += 1
        # Once a text is no timestamp, the field is not a timestamp, so later texts are not parsed. The same for dates.
        if self.timestamps == self.kinds[Kind.STRING]:
            timestamp = as_type(text, TIMESTAMP)
            if timestamp is not None:
                self.timestamps += 1
                return (timestamp - _EPOCH) // _MICROSECOND, "timestamp"
        if self.dates == self.kinds[Kind.STRING]:
            self.dates += as_type(text, DATE) is not None
        return code, "text"

    def _add_number(self, value: Any, kind: Kind) -> tuple[int | None, Coding]:
        whole = as_type(value, LONG) if kind is Kind.WHOLE else None
        if whole is not None:
            self.kinds[LONG.name] += 1
            return whole, "number"
        if as_type(value, DOUBLE) is None:
            self.kinds["huge"] += 1
        else:
            self.kinds["beyond" if kind is Kind.WHOLE else "fraction"] += 1
        return None, "number"


@dataclass
class VersionEvidence:
    """The records of one version.

    Attributes:
        records: their number.
        fields: the fields whose name may be shown, at most MAX_FIELDS.
        hidden: records with a field whose name may not be shown.
        beyond: records with a field after the first MAX_FIELDS.
    """

    records: int = 0
    fields: dict[str, FieldEvidence] = field(default_factory=dict)
    hidden: int = 0
    beyond: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        hidden = beyond = False
        for name, value in record.items():
            found = self.fields.get(name)
            if found is None:
                if len(name) > _LONGEST_NAME or may_be_value(name):
                    hidden = True
                    continue
                if len(self.fields) >= MAX_FIELDS:
                    beyond = True
                    continue
                found = self.fields[name] = FieldEvidence()
                # A field that the first record lacks can be neither key nor order, so it needs no codes.
                if not self.records and len(self.fields) <= _CODED_FIELDS:
                    found.codes = array("q")
            found.add(value, self.records)
        self.records += 1
        self.hidden += hidden
        self.beyond += beyond

    def hide_scattered(self) -> None:
        """Removes rare names if they are many: then the records use values as keys."""
        rare = [name for name, each in self.fields.items() if each.records < _RARE * self.records]
        if len(rare) > _MANY_RARE:
            self.hidden = min(self.records, self.hidden + sum(self.fields.pop(name).records for name in rare))

    def always(self, name: str) -> bool:
        """Whether every record has a value for it that is not null."""
        return name in self.fields and self.fields[name].filled == self.records

    def codes(self, name: str | None) -> Codes | None:
        """A code for each record; None unless every record has a value of the same coding."""
        codes = self.fields[name].codes if name in self.fields else None
        return np.frombuffer(codes, np.int64) if codes is not None and len(codes) == self.records else None


@dataclass
class DatasetEvidence:
    """All lines of a sample.

    Attributes:
        lines: lines that are not blank.
        bad: lines by the reason for which decoding would reject them whatever the names of the fields. They are not in
            `versions`.
        version_field: JSON name of the field with the version; None if no field matches.
        envelopes: by version, as its first records have it. A version that begins later in the sample has none.
        versions: by number. Without a `version_field`, all records are in version 1.
    """

    lines: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    version_field: str | None = None
    envelopes: dict[int, Envelope] = field(default_factory=dict)
    versions: dict[int, VersionEvidence] = field(default_factory=dict)


def field_type(each: FieldEvidence) -> tuple[FieldType | None, str]:
    """(type, remark): the type that holds every value seen, or None with the reason as the remark."""
    kinds = set(each.kinds)
    if not kinds:
        return None, "null in every record"
    if kinds == {Kind.STRING}:
        if each.timestamps == each.filled:
            return TIMESTAMP, ""
        return (DATE if each.dates == each.filled else STRING), ""
    if kinds <= {LONG.name, "fraction", "beyond"}:
        if "beyond" in kinds:
            return DOUBLE, f"beyond 64 bits in {share(each.kinds['beyond'], each.filled)}, so digits are lost"
        return (DOUBLE if "fraction" in kinds else LONG), ""
    if kinds == {Kind.BOOLEAN}:
        return BOOLEAN, ""
    if kinds == {Kind.OBJECT}:
        return MAP, ""
    if kinds == {Kind.ARRAY}:
        return None, "an array"
    shares = ", ".join(f"{kind} {share(count, each.filled)}" for kind, count in sorted(each.kinds.items()))
    return None, f"of mixed kinds: {shares}"


def share(part: int, whole: int) -> str:
    """`12.5%`. 0% and 100% mean none and all: values close to them are rounded to 0.1% and 99.9%."""
    if part in (0, whole):
        return "100%" if part else "0%"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f}%"


def gather(lines: Iterable[bytes | Reject]) -> DatasetEvidence:
    """Reads lines. The first records decide on the envelope; a record without it counts as a bad line."""
    found = DatasetEvidence()
    waiting: list[dict[str, Any]] = []
    size, decided = 0, False
    for line in lines:
        record = read_object(line) if isinstance(line, bytes) else line
        if record is None:
            continue
        found.lines += 1
        if isinstance(record, Reject):
            found.bad[record.reason] += 1
            continue
        waiting.append(record)
        size += len(line) if isinstance(line, bytes) else 0
        if not decided and (len(waiting) >= _FIRST_RECORDS or size >= _FIRST_BYTES):
            _decide_envelopes(found, waiting)
            decided = True
        if decided:
            _add(found, waiting)
    if not decided:
        _decide_envelopes(found, waiting)
        _add(found, waiting)
    for version in found.versions.values():
        version.hide_scattered()
    return found


def _decide_envelopes(found: DatasetEvidence, records: list[dict[str, Any]]) -> None:
    found.version_field = version_field(records)
    by_version: dict[int, list[dict[str, Any]]] = {}
    for record in records:
        number = _version(record, found.version_field)
        if isinstance(number, int):
            by_version.setdefault(number, []).append(record)
    found.envelopes = {number: envelope(each) for number, each in by_version.items()}


def _add(found: DatasetEvidence, waiting: list[dict[str, Any]]) -> None:
    for record in waiting:
        number = _version(record, found.version_field)
        if isinstance(number, int) and number not in found.versions and len(found.versions) >= _MAX_VERSIONS:
            number = rejects.UNKNOWN_VERSION
        reason = number if isinstance(number, str) else _envelope_mistake(record, found.envelopes.get(number))
        if reason:
            found.bad[reason] += 1
        elif isinstance(number, int):
            found.versions.setdefault(number, VersionEvidence()).add(record)
    waiting.clear()


def _version(record: Mapping[str, Any], name: str | None) -> int | str:
    """The record's version, or the reason for which decoding would reject it."""
    if name is None:
        return 1
    if record.get(name) is None:
        return rejects.MISSING_FIELD
    number: int | None = as_type(record[name], LONG)
    return rejects.BAD_VALUE if number is None else number


def _envelope_mistake(record: Mapping[str, Any], known: Envelope | None) -> str | None:
    if known is None:
        return None
    for name, type_ in ((known.id, STRING), (known.emitted_at, TIMESTAMP)):
        if name is not None and record.get(name) is None:
            return rejects.MISSING_FIELD
        if name is not None and as_type(record[name], type_) is None:
            return rejects.BAD_VALUE
    return None

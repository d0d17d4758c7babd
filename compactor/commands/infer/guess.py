"""From evidence to a dataset's meaning: types, kind, key, order, deletes; each with what speaks for it. Pure.

The key is what makes (key, order) tell the records apart: two records of one entity are never of the same moment. Names
decide where the data leave a choice, and a guess that rests on names alone is marked as one to check.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from compactor.commands.infer.envelope import Envelope
from compactor.commands.infer.evidence import DELETES, Codes, FieldEvidence, VersionEvidence, field_type, share
from compactor.registry.fields import column_name
from compactor.types.field_type import DATE, LONG, STRING, TIMESTAMP, FieldType

_STATE_ORDER = ("updated", "modified", "changed", "merged", "effective", "revised", "ts", "timestamp", "time",
                "revision", "sequence", "seq")  # fmt: skip
_EVENT_ORDER = ("occurred", "happened", "event", "ts", "timestamp", "time", "sequence", "seq")
_NEVER_ORDER = {"created", "registered", "birth", "born", "expires", "expiry", "expired", "signup", "joined", "first",
                "previous", "start", "end", "due", "scheduled"}  # fmt: skip
_STATE_WORDS = {"updated", "modified", "changed", "merged", "revised"}
_EVENT_WORDS = {"occurred", "happened"}
_STATE_NAMES = {"profiles", "profile", "users", "user", "members", "member", "customers", "customer", "accounts",
                "account", "contacts", "contact", "identity", "identities", "identifiers", "graph", "merges", "merge",
                "state", "current", "subscriptions", "consents", "segments"}  # fmt: skip
_EVENT_NAMES = {"event", "events", "track", "tracks", "clicks", "views", "log", "logs", "activity", "activities",
                "impressions", "pageviews", "transactions", "orders"}  # fmt: skip
_EVENT_FIELDS = {"event", "event_name", "event_type", "action_name"}
_FROM = {"from": "to", "source": "target", "src": "dst", "old": "new", "previous": "current", "merged": "surviving",
         "duplicate": "canonical", "loser": "winner", "absorbed": "into"}  # fmt: skip
_ID_WORDS = {"id", "uuid", "guid", "key", "identifier", "value"}
_FEW_CLASHES = 0.001
_SOME_RECORDS, _MANY_RECORDS = 20, 100


@dataclass(frozen=True)
class TypedField:
    """A field's type, or None and why it has none. `required`: whether each record has it, of enough records."""

    name: str
    type: FieldType | None
    required: bool
    note: str = ""


@dataclass(frozen=True)
class OrderCandidate:
    """`later` is the share of records in which it is later than the emission; None where it is no time."""

    name: str
    type: FieldType
    later: float | None


@dataclass(frozen=True)
class KeyCandidate:
    """Of `records` distinct ones it has `values`; `clashes` of them share key and order with another."""

    names: tuple[str, ...]
    values: int
    clashes: int
    records: int


@dataclass(frozen=True)
class Meaning:
    """What a version's records seem to be. Names are JSON names. `doubts` say what to check, by the key of the YAML."""

    fields: tuple[TypedField, ...]
    kind: Literal["state", "events"]
    kind_why: tuple[str, ...]
    key: KeyCandidate | None
    other_keys: tuple[KeyCandidate, ...]
    order: OrderCandidate | None
    other_orders: tuple[OrderCandidate, ...]
    operation: str | None
    deletes: tuple[str, ...]
    doubts: dict[str, str]


def meaning(dataset: str, found: VersionEvidence, envelope: Envelope, version_field: str | None) -> Meaning:
    """What the records of one version mean. Every part of it can be wrong; none of it is made up."""
    due = ((envelope.id, STRING), (version_field, LONG), (envelope.emitted_at, TIMESTAMP))
    outer = {name: type_ for name, type_ in due if name}
    fields = tuple(_typed(name, each, found, outer) for name, each in found.fields.items())
    types = {each.name: each.type for each in fields if each.type}
    operation = _operation(found, types)
    orders = _orders(found, types, envelope, outer)
    rows = _distinct(found, envelope)
    doubts: dict[str, str] = {}

    def keys_by(order: OrderCandidate | None) -> list[KeyCandidate]:
        return _keys(found, types, rows, order, {*outer, operation})

    emission = OrderCandidate(envelope.emitted_at, TIMESTAMP, None) if envelope.emitted_at else None
    by_state = _best_order(orders, _STATE_ORDER) or emission
    keys = keys_by(by_state)
    kind, why, sure = _kind(dataset, found, types, envelope, operation, keys, orders)
    if not sure:
        doubts["kind"] = "little speaks for it; events: each record stands, state: the newest of a key does"
    order = by_state if kind == "state" else _best_order(orders, _EVENT_ORDER) or emission
    if order == emission:
        doubts["order"] = "no other field is a time in every record"
    elif order and _rank(order, _STATE_ORDER if kind == "state" else _EVENT_ORDER) >= len(_STATE_ORDER):
        doubts["order"] = "its name does not say so"
    elif order and order.later is not None and order.later > 0.01:
        doubts["order"] = "it is often later than the emission"
    if operation and len(found.fields[operation].distinct) > len(found.fields[operation].words):
        doubts["delete"] = "its other values are no usual words of an operation"
    if kind == "state" and not keys:
        doubts["key"] = "no field tells the entities apart"
    elif kind == "state" and (doubt := _doubt_of(keys[0])):
        doubts["key"] = doubt
    return Meaning(
        fields, kind, why, keys[0] if keys else None, tuple(keys[1:4]), order,
        tuple(each for each in orders if each != order)[:3], operation, _deletes(found, operation), doubts,
    )  # fmt: skip


def _typed(name: str, each: FieldEvidence, found: VersionEvidence, outer: dict[str, FieldType]) -> TypedField:
    type_, note = field_type(each)
    if name in outer:
        type_, note = outer[name], ""
    required = found.always(name) and (found.records >= _SOME_RECORDS or name in outer)
    return TypedField(name, type_, required, note)


def _operation(found: VersionEvidence, types: dict[str, FieldType]) -> str | None:
    """The field that says whether a record deletes: few values, and words of an operation among them."""
    texts = {
        name: each
        for name, each in found.fields.items()
        if types.get(name) == STRING and each.few and column_name(name) not in _EVENT_FIELDS
    }
    with_delete = [name for name, each in texts.items() if any(word.lower() in DELETES for word in each.words)]
    only_siblings = [name for name, each in texts.items() if each.words and sum(each.words.values()) == each.filled]
    by_name = [name for name in only_siblings if {"op", "operation", "action", "change"} & {*_words(name)}]
    with_delete.sort(key=lambda name: name not in only_siblings)
    return next(iter((*with_delete, *by_name)), None)


def _deletes(found: VersionEvidence, operation: str | None) -> tuple[str, ...]:
    if operation is None:
        return ()
    return tuple(sorted(word for word in found.fields[operation].words if word.lower() in DELETES))


def _orders(
    found: VersionEvidence, types: dict[str, FieldType], envelope: Envelope, outer: dict[str, FieldType]
) -> list[OrderCandidate]:
    """Fields that could be the order: in every record, times before numbers."""
    emitted = found.codes(envelope.emitted_at)
    times: list[OrderCandidate] = []
    numbers: list[OrderCandidate] = []
    for name, type_ in types.items():
        if name in outer or not found.always(name):
            continue
        codes = found.codes(name)
        if type_ == TIMESTAMP and codes is not None:
            later = None if emitted is None else float((codes > emitted).mean())
            times.append(OrderCandidate(name, type_, later))
        elif type_ == DATE or (type_ == LONG and {*_words(name)} & {*_STATE_ORDER, *_EVENT_ORDER}):
            numbers.append(OrderCandidate(name, type_, None))
    return times + numbers


def _best_order(orders: Sequence[OrderCandidate], words: Sequence[str]) -> OrderCandidate | None:
    usual = [each for each in orders if not {*_words(each.name)} & _NEVER_ORDER]
    of_time = [each for each in usual if each.type != DATE] or usual
    return min(of_time, key=lambda each: (_rank(each, words), each.later or 0.0), default=None)


def _rank(order: OrderCandidate, words: Sequence[str]) -> int:
    own = _words(order.name)
    return next((index for index, word in enumerate(words) if word in own), len(_STATE_ORDER))


def _distinct(found: VersionEvidence, envelope: Envelope) -> npt.NDArray[np.intp]:
    """Where the distinct records stand: of one id, that which was emitted first."""
    ids, emitted = found.codes(envelope.id), found.codes(envelope.emitted_at)
    if ids is None:
        return np.arange(found.records)
    order = np.lexsort((ids,) if emitted is None else (emitted, ids))
    first = np.ones(len(order), bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    return order[first]


def _keys(
    found: VersionEvidence,
    types: dict[str, FieldType],
    rows: npt.NDArray[np.intp],
    order: OrderCandidate | None,
    never: set[str | None],
) -> list[KeyCandidate]:
    """The candidates for the key, the best first. Empty if there is nothing that could be one."""
    columns: dict[str, Codes] = {}
    for name, type_ in types.items():
        codes = found.codes(name)
        if name not in never and type_ in (STRING, LONG) and codes is not None and (not order or name != order.name):
            columns[name] = codes[rows]
    moments = found.codes(order.name) if order else None
    moments = moments[rows] if moments is not None else None

    def candidate(*names: str) -> KeyCandidate:
        key = _mixed(columns[name] for name in names)
        both = len(rows) if moments is None else len(np.unique(_mixed((key, moments))))
        return KeyCandidate(names, len(np.unique(key)), len(rows) - both, len(rows))

    singles = [candidate(name) for name in columns]
    telling = [each for each in singles if not _is_class(each)]
    for name in columns:  # one thing became part of another: the record is about the first
        if (other := _counterpart(name)) and any(column_name(each) == other for each in columns):
            return [candidate(name), *(each for each in telling if each.names != (name,))]
    fit = sorted((each for each in telling if each.clashes <= _FEW_CLASHES * each.records), key=_preference)
    if not fit:
        pairs = [candidate(*pair) for pair in combinations(list(columns)[:12], 2)]
        fit = sorted((each for each in pairs if each.clashes <= _FEW_CLASHES * each.records), key=_preference)
    if not fit:
        return sorted(telling, key=lambda each: each.clashes)
    best = fit[0]
    if len(best.names) == 1 and (kind := _kind_beside(best.names[0], columns)):
        best = candidate(kind, best.names[0])
    return [best, *(each for each in telling if each.names[-1:] != best.names[-1:])]


def _mixed(columns: Iterable[Codes]) -> Codes:
    """One code for each row of several columns."""
    first, *others = columns
    mixed = first.view(np.uint64)
    for each in others:
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + each.view(np.uint64)
    return mixed.view(np.int64)


def _is_class(candidate: KeyCandidate) -> bool:
    """Whether so few values are on so many records that they are classes of things and no things."""
    return candidate.values <= 20 and candidate.records >= 10 * candidate.values


def _preference(candidate: KeyCandidate) -> tuple[bool, int, int]:
    """Named as an id; then the coarsest: a key too fine leaves rows of the same entity beside each other."""
    named = any(_words(name)[-1] in _ID_WORDS for name in candidate.names)
    return not named, candidate.values, len(candidate.names)


def _counterpart(name: str) -> str | None:
    """`to_rover_id` of `fromRoverID`."""
    first, *rest = _words(name)
    return "_".join((_FROM[first], *rest)) if first in _FROM else None


def _kind_beside(name: str, columns: Iterable[str]) -> str | None:
    """`identifierType` of `identifierValue`: the same value can be of two kinds."""
    *stem, last = _words(name)
    if last not in ("value", "identifier", "key"):
        return None
    due = {"_".join((*stem, word)) for word in ("type", "kind", "namespace")}
    return next((each for each in columns if column_name(each) in due), None)


def _doubt_of(key: KeyCandidate) -> str | None:
    if key.clashes > _FEW_CLASHES * key.records:
        return "different records have the same key and order"
    if _counterpart(key.names[0]) or len(key.names) == 2:
        return None if _words(key.names[-1])[-1] in _ID_WORDS else "two fields that together tell the records apart"
    if key.values == key.records and key.records >= _MANY_RECORDS:
        return "no value of it came twice"
    return None if _words(key.names[0])[-1] in _ID_WORDS else "its name does not say so"


def _kind(
    dataset: str,
    found: VersionEvidence,
    types: dict[str, FieldType],
    envelope: Envelope,
    operation: str | None,
    keys: Sequence[KeyCandidate],
    orders: Sequence[OrderCandidate],
) -> tuple[Literal["state", "events"], tuple[str, ...], bool]:
    """(kind, what speaks for it, whether that is enough)."""
    state: list[tuple[int, str]] = []
    events: list[tuple[int, str]] = []
    columns = {column_name(name): name for name in types}
    if operation:
        state.append((2, f"{operation} names an operation"))
    for order in orders:
        if {*_words(order.name)} & _STATE_WORDS:
            state.append((2, f"a field {order.name}"))
        if {*_words(order.name)} & _EVENT_WORDS:
            events.append((2, f"a field {order.name}"))
    if keys and _counterpart(keys[0].names[0]):
        state.append((2, f"{keys[0].names[0]} and its counterpart"))
    events += [(2, f"a field {columns[name]}") for name in sorted(_EVENT_FIELDS & columns.keys())]
    if {*_words(dataset)} & _STATE_NAMES:
        state.append((1, "the dataset's name"))
    if {*_words(dataset)} & _EVENT_NAMES:
        events.append((2, "the dataset's name"))
    if again := _emitted_again(found, envelope):
        state.append(
            (1, f"{share(again, found.records)} of the records came again, emitted later, as in a rerun snapshot")
        )
    if keys and keys[0].records >= _MANY_RECORDS and keys[0].values > 0.95 * keys[0].records:
        events.append((1, f"{'+'.join(keys[0].names)} hardly repeats"))
    lead = sum(points for points, _ in state) - sum(points for points, _ in events)
    if lead > 0 or (lead == 0 and keys and keys[0].values < keys[0].records):
        return "state", tuple(reason for _, reason in state), lead > 1
    return "events", tuple(reason for _, reason in events), lead < -1


def _emitted_again(found: VersionEvidence, envelope: Envelope) -> int:
    """Records whose id came with more than one moment of emission, without the first of each."""
    ids, emitted = found.codes(envelope.id), found.codes(envelope.emitted_at)
    if ids is None or emitted is None:
        return 0
    again = len(np.unique(_mixed((ids, emitted)))) - len(np.unique(ids))
    return again if again > 0.01 * len(ids) else 0


def _words(name: str) -> list[str]:
    return column_name(name).split("_")

"""Guesses from the evidence what a dataset is: types, kind, key, order, deletes, each with its reasons. Pure.

Where the data leave a choice, names decide. A guess that rests on names alone is marked for a check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from compactor.commands.infer.envelope import Envelope, name_words
from compactor.commands.infer.evidence import DELETE_WORDS, FieldEvidence, VersionEvidence, field_type, share
from compactor.commands.infer.keys import MANY_RECORDS, KeyCandidate, counterpart, doubt_of, key_candidates, mixed
from compactor.registry.fields import column_name, names_version
from compactor.types.field_type import DATE, DOUBLE, LONG, STRING, TIMESTAMP, FieldType

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
_SOME_RECORDS = 20


@dataclass(frozen=True)
class TypedField:
    """A field with its type.

    Attributes:
        name: its JSON name.
        type: a type of the registry; None if no type holds all values.
        required: every record has it, and there are enough records to rely on that.
        remark: why it has no type, or what the type loses.
    """

    name: str
    type: FieldType | None
    required: bool
    remark: str = ""


@dataclass(frozen=True)
class OrderCandidate:
    """A field that could be the order. `later`: share of the records in which it is later than the emission, 0 to 1;
    None if the two cannot be compared.
    """

    name: str
    type: FieldType
    later: float | None


@dataclass(frozen=True)
class Guess:
    """What the records of a version seem to be. Names are JSON names.

    Attributes:
        kind_reasons: the evidence for the kind.
        key, order: None if no field can be one.
        other_keys, other_orders: the next best candidates.
        operation: the field that says whether a record is a delete; None if there is none.
        deletes: the words in it that mean a delete.
        doubts: what to check, by key of the registry's YAML.
    """

    fields: tuple[TypedField, ...]
    kind: Literal["state", "events"]
    kind_reasons: tuple[str, ...]
    key: KeyCandidate | None
    other_keys: tuple[KeyCandidate, ...]
    order: OrderCandidate | None
    other_orders: tuple[OrderCandidate, ...]
    operation: str | None
    deletes: tuple[str, ...]
    doubts: dict[str, str]


def guess(dataset: str, found: VersionEvidence, envelope: Envelope, version_field: str | None) -> Guess:
    """Guesses what the records of one version are. Every part can be wrong; every part has evidence."""
    named = ((envelope.id, STRING), (version_field, LONG), (envelope.emitted_at, TIMESTAMP))
    outer = {name: type_ for name, type_ in named if name}
    fields = tuple(_typed(name, each, found, outer) for name, each in found.fields.items())
    types = {each.name: each.type for each in fields if each.type}
    operation = _operation(found, types)
    orders = _orders(found, types, envelope, outer)
    rows = _distinct(found, envelope)
    doubts: dict[str, str] = {}

    def keys_by(order: OrderCandidate | None) -> list[KeyCandidate]:
        return key_candidates(found, types, rows, order.name if order else None, {*outer, operation})

    emission = OrderCandidate(envelope.emitted_at, TIMESTAMP, None) if envelope.emitted_at else None
    by_state = _best_order(orders, _STATE_ORDER) or emission
    keys = keys_by(by_state)
    kind, reasons, sure = _kind(dataset, found, types, envelope, operation, keys, orders)
    if not sure:
        doubts["kind"] = "weak evidence; events keep every record, state keeps the newest record of a key"
    order = by_state if kind == "state" else _best_order(orders, _EVENT_ORDER) or emission
    if order == emission:
        doubts["order"] = "no other field is a timestamp in every record"
    elif order and _rank(order, _STATE_ORDER if kind == "state" else _EVENT_ORDER) >= len(_STATE_ORDER):
        doubts["order"] = "its name does not suggest it"
    elif order and order.later is not None and order.later > 0.01:
        doubts["order"] = "it is often later than the emission"
    if operation and len(found.fields[operation].distinct) > len(found.fields[operation].words):
        doubts["delete"] = "its other values are not common words of operations"
    if kind == "state" and not keys:
        doubts["key"] = "no field identifies the entities"
    elif kind == "state" and (doubt := doubt_of(keys[0])):
        doubts["key"] = doubt
    return Guess(
        fields, kind, reasons, keys[0] if keys else None, tuple(keys[1:4]), order,
        tuple(each for each in orders if each != order)[:3], operation, _deletes(found, operation), doubts,
    )  # fmt: skip


def _typed(name: str, each: FieldEvidence, found: VersionEvidence, outer: dict[str, FieldType]) -> TypedField:
    type_, remark = field_type(each)
    if name in outer:
        type_, remark = outer[name], ""
    elif type_ == DOUBLE and names_version(name):
        type_, remark = None, "a version with a fraction, which is no number: 17.1 is not 17.10"
    required = found.always(name) and (found.records >= _SOME_RECORDS or name in outer)
    return TypedField(name, type_, required, remark)


def _operation(found: VersionEvidence, types: dict[str, FieldType]) -> str | None:
    """The field that says whether a record is a delete: it has few values, and words of operations among them."""
    texts = {
        name: each
        for name, each in found.fields.items()
        if types.get(name) == STRING and each.few and column_name(name) not in _EVENT_FIELDS
    }
    with_delete = [name for name, each in texts.items() if any(word.lower() in DELETE_WORDS for word in each.words)]
    only_operations = [name for name, each in texts.items() if each.words and sum(each.words.values()) == each.filled]
    by_name = [name for name in only_operations if {"op", "operation", "action", "change"} & {*name_words(name)}]
    with_delete.sort(key=lambda name: name not in only_operations)
    return next(iter((*with_delete, *by_name)), None)


def _deletes(found: VersionEvidence, operation: str | None) -> tuple[str, ...]:
    if operation is None:
        return ()
    return tuple(sorted(word for word in found.fields[operation].words if word.lower() in DELETE_WORDS))


def _orders(
    found: VersionEvidence, types: dict[str, FieldType], envelope: Envelope, outer: dict[str, FieldType]
) -> list[OrderCandidate]:
    """Fields that could be the order: those in every record, timestamps before numbers."""
    emitted = found.codes(envelope.emitted_at)
    timestamps: list[OrderCandidate] = []
    numbers: list[OrderCandidate] = []
    for name, type_ in types.items():
        if name in outer or not found.always(name):
            continue
        codes = found.codes(name)
        if type_ == TIMESTAMP and codes is not None:
            later = None if emitted is None else float((codes > emitted).mean())
            timestamps.append(OrderCandidate(name, type_, later))
        elif type_ == DATE or (type_ == LONG and {*name_words(name)} & {*_STATE_ORDER, *_EVENT_ORDER}):
            numbers.append(OrderCandidate(name, type_, None))
    return timestamps + numbers


def _best_order(orders: Sequence[OrderCandidate], words: Sequence[str]) -> OrderCandidate | None:
    usual = [each for each in orders if not {*name_words(each.name)} & _NEVER_ORDER]
    precise = [each for each in usual if each.type != DATE] or usual
    return min(precise, key=lambda each: (_rank(each, words), each.later or 0.0), default=None)


def _rank(order: OrderCandidate, words: Sequence[str]) -> int:
    own = name_words(order.name)
    return next((index for index, word in enumerate(words) if word in own), len(_STATE_ORDER))


def _distinct(found: VersionEvidence, envelope: Envelope) -> npt.NDArray[np.intp]:
    """Positions of the distinct records: for each id, the record that was emitted first."""
    ids, emitted = found.codes(envelope.id), found.codes(envelope.emitted_at)
    if ids is None:
        return np.arange(found.records)
    order = np.lexsort((ids,) if emitted is None else (emitted, ids))
    first = np.ones(len(order), bool)
    first[1:] = ids[order][1:] != ids[order][:-1]
    return order[first]


def _kind(
    dataset: str,
    found: VersionEvidence,
    types: dict[str, FieldType],
    envelope: Envelope,
    operation: str | None,
    keys: Sequence[KeyCandidate],
    orders: Sequence[OrderCandidate],
) -> tuple[Literal["state", "events"], tuple[str, ...], bool]:
    """(kind, reasons, whether they are enough)."""
    state: list[tuple[int, str]] = []
    events: list[tuple[int, str]] = []
    columns = {column_name(name): name for name in types}
    if operation:
        state.append((2, f"{operation} names an operation"))
    for order in orders:
        if {*name_words(order.name)} & _STATE_WORDS:
            state.append((2, f"a field {order.name}"))
        if {*name_words(order.name)} & _EVENT_WORDS:
            events.append((2, f"a field {order.name}"))
    if keys and counterpart(keys[0].names[0]):
        state.append((2, f"{keys[0].names[0]} and its counterpart"))
    events += [(2, f"a field {columns[name]}") for name in sorted(_EVENT_FIELDS & columns.keys())]
    if {*name_words(dataset)} & _STATE_NAMES:
        state.append((1, "the dataset's name"))
    if {*name_words(dataset)} & _EVENT_NAMES:
        events.append((2, "the dataset's name"))
    if again := _emitted_again(found, envelope):
        state.append(
            (1, f"{share(again, found.records)} of the records are repeated, emitted later, as in a rerun snapshot")
        )
    if keys and keys[0].records >= MANY_RECORDS and keys[0].values > 0.95 * keys[0].records:
        events.append((1, f"{'+'.join(keys[0].names)} rarely repeats"))
    lead = sum(points for points, _ in state) - sum(points for points, _ in events)
    if lead > 0 or (lead == 0 and keys and keys[0].values < keys[0].records):
        return "state", tuple(reason for _, reason in state), lead > 1
    return "events", tuple(reason for _, reason in events), lead < -1


def _emitted_again(found: VersionEvidence, envelope: Envelope) -> int:
    """How many records repeat an id with another time of emission. 0 if they are very few."""
    ids, emitted = found.codes(envelope.id), found.codes(envelope.emitted_at)
    if ids is None or emitted is None:
        return 0
    again = len(np.unique(mixed((ids, emitted)))) - len(np.unique(ids))
    return again if again > 0.01 * len(ids) else 0

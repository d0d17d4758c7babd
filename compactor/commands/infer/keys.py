"""Candidates for the key of a dataset. Pure.

The key is what makes (key, order) unique: two records of one entity never have the same timestamp.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from compactor.commands.infer.envelope import name_words
from compactor.commands.infer.evidence import Codes, VersionEvidence
from compactor.registry.fields import column_name
from compactor.types.field_type import LONG, STRING, FieldType

MANY_RECORDS = 100
"""So many records show whether a key repeats."""
_FEW_CLASHES = 0.001  # of the records
_FROM = {"from": "to", "source": "target", "src": "dst", "old": "new", "previous": "current", "merged": "surviving",
         "duplicate": "canonical", "loser": "winner", "absorbed": "into"}  # fmt: skip
_ID_WORDS = {"id", "uuid", "guid", "key", "identifier", "value"}


@dataclass(frozen=True)
class KeyCandidate:
    """Fields that could be the key.

    Attributes:
        names: their JSON names.
        values: distinct values of the key.
        clashes: records that share key and order with another record.
        records: distinct records.
    """

    names: tuple[str, ...]
    values: int
    clashes: int
    records: int


def key_candidates(
    found: VersionEvidence,
    types: dict[str, FieldType],
    rows: npt.NDArray[np.intp],
    order: str | None,
    excluded: set[str | None],
) -> list[KeyCandidate]:
    """The candidates for the key, the best first. Empty if no field can be one.

    Args:
        found: the records.
        types: JSON name -> type.
        rows: positions of the distinct records.
        order: JSON name of the order; None if there is none.
        excluded: JSON names of fields that are not part of a key.
    """
    columns: dict[str, Codes] = {}
    for name, type_ in types.items():
        codes = found.codes(name)
        if name not in excluded and name != order and type_ in (STRING, LONG) and codes is not None:
            columns[name] = codes[rows]
    order_codes = found.codes(order)
    order_codes = order_codes[rows] if order_codes is not None else None

    def candidate(*names: str) -> KeyCandidate:
        key = mixed(columns[name] for name in names)
        both = len(rows) if order_codes is None else len(np.unique(mixed((key, order_codes))))
        return KeyCandidate(names, len(np.unique(key)), len(rows) - both, len(rows))

    singles = [candidate(name) for name in columns]
    identifying = [each for each in singles if not _is_class(each)]
    for name in columns:  # the record says that one entity became part of another: it is about the first
        if (other := counterpart(name)) and any(column_name(each) == other for each in columns):
            return [candidate(name), *(each for each in identifying if each.names != (name,))]
    unique = sorted((each for each in identifying if each.clashes <= _FEW_CLASHES * each.records), key=_preference)
    if not unique:
        pairs = [candidate(*pair) for pair in combinations(list(columns)[:12], 2)]
        unique = sorted((each for each in pairs if each.clashes <= _FEW_CLASHES * each.records), key=_preference)
    if not unique:
        return sorted(identifying, key=lambda each: each.clashes)
    best = unique[0]
    if len(best.names) == 1 and (kind := _kind_beside(best.names[0], columns)):
        best = candidate(kind, best.names[0])
    return [best, *(each for each in identifying if each.names[-1:] != best.names[-1:])]


def mixed(columns: Iterable[Codes]) -> Codes:
    """One code for each row of several columns: their codes, hashed together."""
    first, *others = columns
    mixed = first.view(np.uint64)
    for each in others:
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + each.view(np.uint64)
    return mixed.view(np.int64)


def _is_class(candidate: KeyCandidate) -> bool:
    """Whether there are so few values for so many records that they are categories, not entities."""
    return candidate.values <= 20 and candidate.records >= 10 * candidate.values


def _preference(candidate: KeyCandidate) -> tuple[bool, int, int]:
    """First those named as an id, then the one with the fewest values: too fine a key gives an entity several rows."""
    named = any(name_words(name)[-1] in _ID_WORDS for name in candidate.names)
    return not named, candidate.values, len(candidate.names)


def counterpart(name: str) -> str | None:
    """The column of the other entity: `to_rover_id` for `fromRoverID`."""
    first, *rest = name_words(name)
    return "_".join((_FROM[first], *rest)) if first in _FROM else None


def _kind_beside(name: str, columns: Iterable[str]) -> str | None:
    """The field with the kind of a value: `identifierType` for `identifierValue`. A value can occur with two kinds."""
    *stem, last = name_words(name)
    if last not in ("value", "identifier", "key"):
        return None
    kinds = {"_".join((*stem, word)) for word in ("type", "kind", "namespace")}
    return next((each for each in columns if column_name(each) in kinds), None)


def doubt_of(key: KeyCandidate) -> str | None:
    if key.clashes > _FEW_CLASHES * key.records:
        return "different records have the same key and order"
    if counterpart(key.names[0]) or len(key.names) == 2:
        return None if name_words(key.names[-1])[-1] in _ID_WORDS else "only two fields together are unique"
    if key.values == key.records and key.records >= MANY_RECORDS:
        return "no value of it occurs twice"
    return None if name_words(key.names[0])[-1] in _ID_WORDS else "its name does not suggest it"

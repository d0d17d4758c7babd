"""Canonical JSON of a record, by which ties are decided."""

from __future__ import annotations

from compactor.duck.relations import Relation
from compactor.duck.sql import literal, quote
from compactor.registry.dataset import Dataset

_E = '"$e"'  # an entry, in a lambda: a column of the same name would be taken in its place


def canonical(dataset: Dataset) -> str:
    """SQL for a record's canonical JSON: compact, keys sorted, rebuilt from the values that the tables keep.

    A map keeps the text of its values, so a value that reads as a JSON number, boolean, object or array is taken for
    one. Absent and null fields are left out.
    """
    entries = []
    for field in dataset.newest.fields:
        column = f"r.{quote(field.column)}"
        text = field.type.canonical_json(column)
        entries.append(f"{{'k': {literal(field.json)}, 'v': CASE WHEN {column} IS NOT NULL THEN {text} END}}")
    known = f"list_filter([{', '.join(entries)}], lambda {_E}: {_E}.v IS NOT NULL)"
    extra = f"list_transform(map_entries(r.extra), lambda {_E}: {{'k': {_E}.key, 'v': {_E}.value}})"
    return (
        f"'{{' || list_aggregate(list_transform(list_sort(list_concat({known}, {extra})),"
        f" lambda {_E}: to_json({_E}.k)::VARCHAR || ':' || {_E}.v), 'string_agg', ',') || '}}'"
    )


def as_decoded(dataset: Dataset, stored: Relation | str) -> str:
    """Stored rows as a FROM item with times as decoded rows have them, without a zone: what `canonical` reads."""
    times = sorted((name, kind.duckdb) for name, kind, _ in dataset.columns if kind.zoned)
    cast = ", ".join(f"{quote(name)}::{kind} AS {quote(name)}" for name, kind in times)
    return f"(SELECT * REPLACE ({cast}) FROM {stored})"

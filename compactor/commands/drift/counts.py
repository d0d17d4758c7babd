"""Counts the fields and keys of a history table: how many records have each, since when, and of which types.

The counting happens inside DuckDB, row by row. Keys, types, counts and times leave it; values never do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from compactor.config import Resources
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, quote
from compactor.lake.table import Table
from compactor.registry.dataset import EXTRA
from compactor.types.field_type import DATE, DOUBLE, LONG, STRING, TIMESTAMP
from compactor.types.map_entries import entry_reading

MOST_KEYS = 2_000
"""Distinct keys of a map column. Above that they are data, such as ids, and may be personal: they are never listed."""

# Numbers are stored as their shortest text, so "17.10" and "-0" were texts in the record.
_NUMBER = r"0|-?[1-9]\d*|-?(0|[1-9]\d*)\.(0|\d*[1-9])([eE][+-]?\d+)?|-?\d[eE][+-]?\d+"
_ZONED = r'"?.*(Z|[+-]\d\d:\d\d)"?'  # without a zone, a text may mean the time of some place
_TEXTS = {STRING.name, TIMESTAMP.name, DATE.name}


@dataclass(frozen=True)
class Count:
    """How often a field or a key occurs.

    Attributes:
        records: the records that have it.
        first, last: `emitted_at` of the first and the last of them.
        types: records by type of the value, the most frequent first. Also "null" and "nested" (an object or a list).
            Empty for a declared field, whose type the registry gives.
    """

    records: int
    first: datetime
    last: datetime
    types: Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """What a history table holds.

    Attributes:
        records: rows of the table.
        newest: the greatest `emitted_at`; None for a table without rows.
        fields: by column, the declared fields that at least one record has.
        keys: by (map column, key), the most frequent of a column first, `extra` last.
        crowded: map columns with more than MOST_KEYS distinct keys, and their number. `keys` has none of these.
    """

    records: int = 0
    newest: datetime | None = None
    fields: Mapping[str, Count] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], Count] = field(default_factory=dict)
    crowded: Mapping[str, int] = field(default_factory=dict)


def count(history: Table, maps: Sequence[str], declared: Sequence[str], resources: Resources) -> Counts:
    """Counts in one pass the keys of the columns `maps`, and the rows with a value in the columns `declared`."""
    records = history.scan(list(dict.fromkeys(["emitted_at", *declared, *maps])))
    with session.session(resources) as con, Relations(con) as relations:
        with relations.arrow("records", records.batches) as rows:
            entries = relations.table("entries", _entries(rows, maps, declared))
        table = _rows(relations, f"SELECT n, last FROM {entries} WHERE name IS NULL")
        if not table:
            return Counts()
        crowded = _crowded(relations, entries)
        found = {(row["name"], row["key"]): _count(row) for row in _listed(relations, entries, crowded)}
    return Counts(
        table[0]["n"],
        table[0]["last"],
        fields={name: each for (name, key), each in found.items() if key is None},
        keys={(name, key): each for (name, key), each in found.items() if key is not None},
        crowded=crowded,
    )


def only_type(types: Mapping[str, int], *, is_json: bool) -> str | None:
    """The one type that all values have, else None. Bare texts that read as several types are strings."""
    found = types.keys() - {"null"}
    if found == {LONG.name, DOUBLE.name}:
        return DOUBLE.name
    if len(found) > 1:
        return None if is_json else STRING.name
    return next(iter(found), None)


def _entries(records: Relation, maps: Sequence[str], declared: Sequence[str]) -> str:
    """SQL for (name, key, type, n, first, last): one row for each column, key and type that occurs.

    Each record counts once under the name NULL, once for each declared field that it has (key and type are NULL), and
    once for each entry of its maps.
    """
    empty = "{'name': NULL::VARCHAR, 'key': NULL::VARCHAR, 'value': NULL::VARCHAR}"
    parts = [f"[{empty}]"]
    for column in declared:
        entry = empty.replace("NULL", literal(column), 1)
        parts.append(f"CASE WHEN {quote(column)} IS NOT NULL THEN [{entry}] END")
    for column in maps:
        entry = f"{{'name': {literal(column)}, 'key': __e.key, 'value': __e.value}}"
        parts.append(f"list_transform(map_entries({quote(column)}), lambda __e: {entry})")
    return (
        "SELECT __entry.name AS name, __entry.key AS key, CASE WHEN __entry.key IS NULL THEN NULL"
        f" WHEN __entry.name = {literal(EXTRA)} THEN {_type_of_json('__entry.value')}"
        f" ELSE {_type_of_bare_text('__entry.value')} END AS type,"
        " count(*) AS n, min(__emitted_at) AS first, max(__emitted_at) AS last"
        f" FROM (SELECT emitted_at AS __emitted_at, unnest(list_concat({', '.join(parts)})) AS __entry FROM {records})"
        " GROUP BY ALL"
    )


def _type_of_json(value: str) -> str:
    """SQL for the type of a JSON text."""
    return (
        f"CASE left({value}, 1) WHEN '\"' THEN {_type_of_string(value, is_json=True)}"
        f" WHEN '{{' THEN 'nested' WHEN '[' THEN 'nested' WHEN 'n' THEN 'null'"
        f" WHEN 't' THEN 'boolean' WHEN 'f' THEN 'boolean' ELSE {_type_of_number(value)} END"
    )


def _type_of_bare_text(value: str) -> str:
    """SQL for the type that a bare text reads as. It cannot distinguish the text "5" from the number 5."""
    return (
        f"CASE WHEN {value} IS NULL THEN 'null' WHEN {value} IN ('true', 'false') THEN 'boolean'"
        f" WHEN left({value}, 1) IN ('{{', '[') AND json_valid({value}) THEN 'nested'"
        f" WHEN regexp_full_match({value}, {literal(_NUMBER)}) THEN {_type_of_number(value)}"
        f" ELSE {_type_of_string(value, is_json=False)} END"
    )


def _type_of_number(value: str) -> str:
    """A whole number beyond 64 bits, and any beyond a double, is a string: no other type holds its digits."""
    return (
        f"CASE WHEN regexp_full_match({value}, '-?\\d+') THEN"
        f" CASE WHEN try_cast({value} AS BIGINT) IS NULL THEN 'string' ELSE 'long' END"
        f" WHEN isfinite(try_cast({value} AS DOUBLE)) THEN 'double' ELSE 'string' END"
    )


def _type_of_string(value: str, *, is_json: bool) -> str:
    """A text counts as a date or a timestamp only if a column of that type holds it."""
    cases = []
    for kind in (DATE, TIMESTAMP):
        held = f"({entry_reading(kind, is_json=is_json).sql.replace('{x}', value)}) IS NOT NULL"
        if kind == TIMESTAMP:
            held = f"regexp_full_match({value}, {literal(_ZONED)}) AND {held}"
        cases.append(f"WHEN {held} THEN {literal(kind.name)}")
    return f"CASE {' '.join(cases)} ELSE 'string' END"


def _crowded(relations: Relations, entries: Relation) -> dict[str, int]:
    statement = f"SELECT name, count(DISTINCT key) AS keys FROM {entries} WHERE key IS NOT NULL GROUP BY name"
    return {row["name"]: row["keys"] for row in _rows(relations, statement) if row["keys"] > MOST_KEYS}


def _listed(relations: Relations, entries: Relation, crowded: Mapping[str, int]) -> list[dict[str, Any]]:
    """One row for each declared field and each key, without the keys of crowded columns."""
    hidden = f"AND NOT (key IS NOT NULL AND name IN ({', '.join(map(literal, crowded))}))" if crowded else ""
    return _rows(
        relations,
        "SELECT name, key, sum(n)::BIGINT AS n, min(first) AS first, max(last) AS last,"
        " list({'type': type, 'n': n} ORDER BY n DESC, type) AS types"
        f" FROM {entries} WHERE name IS NOT NULL {hidden} GROUP BY name, key ORDER BY name = {literal(EXTRA)}, name,"
        " n DESC, key",
    )


def _rows(relations: Relations, statement: str) -> list[dict[str, Any]]:
    rows: pa.Table = relations.con.execute(statement).to_arrow_table()
    return list(rows.to_pylist())


def _count(row: Mapping[str, Any]) -> Count:
    types = {each["type"]: int(each["n"]) for each in row["types"]} if row["key"] is not None else {}
    return Count(row["n"], row["first"], row["last"], _merge_texts(types))


def _merge_texts(types: dict[str, int]) -> dict[str, int]:
    """Texts are dates, or timestamps, only if all of them are; else all of them are strings."""
    texts = types.keys() & _TEXTS
    if len(texts) < 2:
        return types
    return {STRING.name: sum(types[text] for text in texts), **{k: n for k, n in types.items() if k not in texts}}

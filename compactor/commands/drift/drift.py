"""Additive drift: which fields and keys arrive, since when, of which types, and which of them could be columns.

Nobody announces a new field or a customer's new trait. They are kept, in `extra` and in the map columns, and this says
so. Keys and counts leave the engine, values never do: they are judged inside it, row by row, and only counted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from compactor.config import Config
from compactor.duck import session
from compactor.duck.sql import literal, quote
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset, Promotion
from compactor.registry.fields import free_column
from compactor.registry.loader import Registry
from compactor.reports.data import DatasetDrift, DriftReport, DriftStatus, FieldDrift
from compactor.types import field_type
from compactor.types.field_type import DATE, DOUBLE, LONG, MAP, STRING, TIMESTAMP

MOST_KEYS = 2_000
"""Distinct keys of a map column; past that they are data, such as ids, and may be personal: they are never listed."""

_EXTRA = "extra"
# As numbers are kept, the shortest text: "17.10" and "-0" can only have come as texts.
_NUMBER = r"0|-?[1-9]\d*|-?(0|[1-9]\d*)\.(0|\d*[1-9])([eE][+-]?\d+)?|-?\d[eE][+-]?\d+"
_DATE = r"[12]\d{3}-\d\d-\d\d"
_TIMESTAMP = r"[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
_TEXTS = {STRING.name, TIMESTAMP.name, DATE.name}


def drift(
    config: Config, registry: Registry, *, datasets: tuple[str, ...] = (), days: int = 7, min_share: float = 1.0
) -> DriftReport:
    """Looks at the history of the datasets (default: all that the registry has), and changes nothing.

    Args:
        days: what is new, or has vanished, is so within this many days before the newest `emitted_at` of a table.
        min_share: percentage of the records that must have a key for it to be suggested as a column.

    Raises:
        UsageError: an unknown dataset.
        CompactorError: the catalog or the storage of the tables cannot be read.
    """
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    lake = Lakehouse(config)
    there = [dataset for dataset in chosen if lake.exists(dataset.history_table)]
    missing = tuple(dataset.name for dataset in chosen if dataset not in there)
    return DriftReport(days, tuple(_dataset(lake, dataset, days, min_share) for dataset in there), missing)


def _dataset(lake: Lakehouse, dataset: Dataset, days: int, min_share: float) -> DatasetDrift:
    history = lake.table(dataset.history_table)
    maps = [column for column, kind, _ in dataset.columns if kind == MAP and column in history.schema.names]
    maps.append(_EXTRA)
    fields = {field.column: field for field in dataset.newest.fields if not field.required}
    declared = [column for column in fields if column in history.schema.names]
    with session.session(lake.config.resources) as con:
        _count(con, history, maps, declared)
        records, newest = _record_count(con)
        crowded = _crowded(con, maps)
        rows = _rows(con, crowded)
    if newest is None:
        return DatasetDrift(dataset.name, history.name, 0, None)
    since = newest - timedelta(days=days)
    promoted = {(each.source, each.key): each.column for each in dataset.promoted}
    found = []
    for column in declared:
        row = rows.get((column, None))
        name = fields[column].type.name
        kinds = {name: row["n"]} if row else {}
        found.append(_field(None, fields[column].json, row, kinds, name, records, since))
    for (column, key), row in rows.items():
        if key is not None:
            kinds = _kinds(row["kinds"])
            kind = _kind(kinds, is_json=column == _EXTRA)
            found.append(_field(column, key, row, kinds, kind, records, since, promoted.get((column, key))))
    suggested = list(_suggested(dataset, found, min_share))
    return DatasetDrift(
        dataset=dataset.name,
        table=history.name,
        records=records,
        newest=newest,
        fields=tuple(found),
        crowded={column: crowded[column] for column in maps if column in crowded},
        promote=promote_yaml([*dataset.promoted, *suggested]) if suggested else "",
        replaces_promote=bool(suggested and dataset.promoted),
        file=dataset.file,
    )


def ready_fields(
    lake: Lakehouse, listed: Dataset, dataset: Dataset, *, min_share: float, min_records: int
) -> list[Promotion]:
    """The fields of `extra` that could be columns: of one type in enough records, and no column yet.

    Args:
        listed: the dataset as the registry has it, whose names must stay free.
        dataset: the same as its tables take it.
    """
    history = lake.table(dataset.history_table)
    with session.session(lake.config.resources) as con:
        _count(con, history, [_EXTRA], [])
        records, newest = _record_count(con)
        rows = {} if newest is None else _rows(con, _crowded(con, [_EXTRA]))
    known = {(each.source, each.key) for each in (*listed.promoted, *dataset.promoted)}
    found = []
    for (_, key), row in rows.items():
        kinds = _kinds(row["kinds"])
        kind = _kind(kinds, is_json=True)
        if key is not None and (_EXTRA, key) not in known and kind != "nested" and row["n"] >= min_records:
            found.append(_field(_EXTRA, key, row, kinds, kind, records, row["first"]))
    steady = [dataclasses.replace(each, status="steady") for each in found if each.type is not None]
    both = dataclasses.replace(listed, promoted=(*listed.promoted, *dataset.promoted))
    return list(_suggested(both, steady, min_share))


def _count(con: duckdb.DuckDBPyConnection, history: Table, maps: Sequence[str], declared: Sequence[str]) -> None:
    """Counts in one pass, into `counted` (name, key, kind, n, first, last).

    A row has an entry for itself (no name), one for each declared field that it has (no key, no kind), and one for
    each entry of its maps.
    """
    whole = "{'name': NULL::VARCHAR, 'key': NULL::VARCHAR, 'value': NULL::VARCHAR}"
    entries = [f"[{whole}]"]
    for column in declared:
        entry = whole.replace("NULL", literal(column), 1)
        entries.append(f"CASE WHEN {quote(column)} IS NOT NULL THEN [{entry}] END")
    for column in maps:
        entry = f"{{'name': {literal(column)}, 'key': e.key, 'value': e.value}}"
        entries.append(f"list_transform(map_entries({quote(column)}), lambda e: {entry})")
    con.register("records", history.scan(list(dict.fromkeys(["emitted_at", *declared, *maps]))).batches)
    con.execute(
        "CREATE TABLE counted AS SELECT e.name AS name, e.key AS key,"
        f" CASE WHEN e.key IS NULL THEN NULL WHEN e.name = {literal(_EXTRA)} THEN {_kind_of_json('e.value')}"
        f" ELSE {_kind_of_bare('e.value')} END AS kind, count(*) AS n, min(moment) AS first, max(moment) AS last"
        f" FROM (SELECT emitted_at AS moment, unnest(list_concat({', '.join(entries)})) AS e FROM records)"
        " GROUP BY ALL"
    )
    con.unregister("records")


def _kind_of_json(value: str) -> str:
    """SQL for the kind of a JSON text."""
    return (
        f"CASE left({value}, 1) WHEN '\"' THEN {_kind_of_text(f'substr({value}, 2, length({value}) - 2)')}"
        f" WHEN '{{' THEN 'nested' WHEN '[' THEN 'nested' WHEN 'n' THEN 'null'"
        f" WHEN 't' THEN 'boolean' WHEN 'f' THEN 'boolean' ELSE {_kind_of_number(value)} END"
    )


def _kind_of_bare(value: str) -> str:
    """SQL for the kind that a bare text reads as. It cannot tell the text "5" from the number 5."""
    return (
        f"CASE WHEN {value} IS NULL THEN 'null' WHEN {value} IN ('true', 'false') THEN 'boolean'"
        f" WHEN left({value}, 1) IN ('{{', '[') AND json_valid({value}) THEN 'nested'"
        f" WHEN regexp_full_match({value}, {literal(_NUMBER)}) THEN {_kind_of_number(value)}"
        f" ELSE {_kind_of_text(value)} END"
    )


def _kind_of_number(value: str) -> str:
    whole = f"regexp_full_match({value}, '-?\\d+') AND try_cast({value} AS BIGINT) IS NOT NULL"
    return f"CASE WHEN {whole} THEN 'long' ELSE 'double' END"


def _kind_of_text(value: str) -> str:
    """A text counts as a date or timestamp only if the engine makes one of it, as it does for a promoted column."""
    kinds = (("date", _DATE, "DATE"), ("timestamp", _TIMESTAMP, "TIMESTAMPTZ"))
    cases = " ".join(
        f"WHEN regexp_full_match({value}, {literal(pattern)}) AND try_cast({value} AS {cast}) IS NOT NULL THEN '{kind}'"
        for kind, pattern, cast in kinds
    )
    return f"CASE {cases} ELSE 'string' END"


def _record_count(con: duckdb.DuckDBPyConnection) -> tuple[int, datetime | None]:
    """How many records there are, and the newest's `emitted_at`."""
    rows = _fetch(con, "SELECT n, last FROM counted WHERE name IS NULL")
    return (rows[0]["n"], rows[0]["last"]) if rows else (0, None)


def _crowded(con: duckdb.DuckDBPyConnection, maps: Sequence[str]) -> dict[str, int]:
    """The map columns with too many distinct keys to list, and how many these are."""
    rows = _fetch(con, "SELECT name, count(DISTINCT key) AS keys FROM counted WHERE key IS NOT NULL GROUP BY name")
    return {row["name"]: row["keys"] for row in rows if row["name"] in maps and row["keys"] > MOST_KEYS}


def _rows(con: duckdb.DuckDBPyConnection, crowded: Mapping[str, int]) -> dict[tuple[str, str | None], dict[str, Any]]:
    """What was counted per name and key, but for crowded columns; the most frequent first."""
    listed = f"AND NOT (key IS NOT NULL AND name IN ({', '.join(map(literal, crowded))}))" if crowded else ""
    rows = _fetch(
        con,
        "SELECT name, key, sum(n)::BIGINT AS n, min(first) AS first, max(last) AS last,"
        " list({'kind': kind, 'n': n} ORDER BY n DESC, kind) AS kinds"
        f" FROM counted WHERE name IS NOT NULL {listed} GROUP BY name, key ORDER BY name = {literal(_EXTRA)}, name,"
        " n DESC, key",
    )
    return {(row["name"], row["key"]): row for row in rows}


def _fetch(con: duckdb.DuckDBPyConnection, statement: str) -> list[dict[str, Any]]:
    rows: pa.Table = con.execute(statement).to_arrow_table()
    return list(rows.to_pylist())


def _kinds(counted: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Values per kind. Texts are dates, or timestamps, only if all of them are; else they are strings."""
    kinds = {each["kind"]: int(each["n"]) for each in counted}
    texts = kinds.keys() & _TEXTS
    if len(texts) > 1:
        kinds = {STRING.name: sum(kinds[kind] for kind in texts), **{k: n for k, n in kinds.items() if k not in texts}}
    return kinds


def _kind(kinds: Mapping[str, int], *, is_json: bool) -> str | None:
    """The one kind that all values are of; None if there is none. Bare texts of several kinds are strings."""
    found = kinds.keys() - {"null"}
    if found == {LONG.name, DOUBLE.name}:
        return DOUBLE.name
    if len(found) > 1:
        return None if is_json else STRING.name
    return next(iter(found), None)


def _field(
    source: str | None,
    key: str,
    row: Mapping[str, Any] | None,
    kinds: Mapping[str, int],
    kind: str | None,
    records: int,
    since: datetime,
    promoted: str | None = None,
) -> FieldDrift:
    """`row` is None for a declared field that no record has."""
    if row is None:
        return FieldDrift(source, key, 0, 0.0, None, None, {}, kind, "unseen")
    status: DriftStatus = "new" if row["first"] > since else "steady"
    if kind is None and kinds.keys() - {"null"}:
        status = "conflict"
    elif row["last"] <= since:
        status = "vanished"
    return FieldDrift(
        source, key, row["n"], row["n"] / records, row["first"], row["last"], kinds, kind, status, promoted
    )


def _suggested(dataset: Dataset, fields: Sequence[FieldDrift], min_share: float) -> Iterator[Promotion]:
    """Keys that could be columns: of one kind, frequent enough, still coming, and not columns yet."""
    taken = {field.column for version in dataset.versions.values() for field in version.fields}
    taken |= {each.column for each in dataset.promoted} | dataset.partition_fields
    for field in fields:
        if field.source is None or field.type is None or field.promoted or field.status == "vanished":
            continue
        if field.share * 100 >= min_share and _can_be_written(field.key):
            column = free_column(field.key, taken, prefix=field.source)
            taken.add(column)
            yield Promotion(field.source, field.key, column, field_type.parse(field.type) or STRING)  # nested: its text


def _can_be_written(key: str) -> bool:
    """Whether a registry file can name the key: it takes no empty one, and `${` begins a reference there."""
    return bool(key) and "${" not in key and "\0" not in key


def promote_yaml(promotions: Sequence[Promotion]) -> str:
    """The `promote:` of a registry file, an entry a line. What a terminal would not print is escaped."""
    lines = ["promote:"]
    for each in promotions:
        entry = {"from": each.source, "key": each.key, "column": each.column, "type": each.type.name}
        text = yaml.safe_dump(
            entry, default_flow_style=True, sort_keys=False, width=sys.maxsize, allow_unicode=each.key.isprintable()
        )
        lines.append(f"  - {text.rstrip()}")
    return "\n".join(lines)

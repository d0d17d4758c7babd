"""Which record wins: the decisions, as set operations over key columns.

Nothing here reads a source or writes a table. Each function works on tables of an engine session:

    staged     decoded rows of the batch (see `decode`)         files   file_no, key, etag of the batch's objects
    keep       what history takes of them (`plan_history`)      fresh   those rows, as the tables have them
    removed / inserted   what leaves and enters the current table (`plan_current`, `replan_current`)

and returns small facts. Rules (the contract, "Which record wins"):

- Of records with one `id`, the earliest `emitted_at` stays; ties go to the smaller canonical JSON.
- Of records with one entity key, the greatest (order column, `id`) is current, unless it is a delete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb
import pyarrow as pa

from compactor.duck.sql import literal, quote, sql_type
from compactor.registry.loader import Dataset, Partition, Promotion, TableLayout

_E = '"$e"'  # an entry, in a lambda: a column of the same name would be taken in its place
_BEST_PLACE = "{'moment': b.top.moment, 'id': b.top.id}"


class SourceOf(Protocol):
    """`history_source` or `current_source`."""

    def __call__(self, dataset: Dataset, *, rewritten: bool) -> str: ...


@dataclass(frozen=True)
class HistoryPlan:
    """What is done to the history: `new` rows per file_no, and the numbers of scanned files to rewrite.

    `replaced` ids have a row, and `surplus` more of the same ids leave with it (see `differences.plan_once`).
    """

    new: dict[int, int]
    replaced: int
    rewrite: tuple[int, ...]
    surplus: int = 0

    @property
    def rows(self) -> int:
        return sum(self.new.values()) + self.replaced


def record_columns(dataset: Dataset) -> list[str]:
    """The columns of the dataset's tables, in order."""
    return [name for name, _, _ in dataset.table_columns]


def plan_history(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    stored: pa.RecordBatchReader,
    stored_rows: Callable[[list[int]], pa.RecordBatchReader],
) -> HistoryPlan:
    """Decides which staged rows the history takes, into `keep` (rid, id, replaces), and defines the view `fresh`.

    Args:
        stored: (id, emitted_at, _file) of the whole history.
        stored_rows: all record columns of the given files of that scan; called only where an incoming record has the
            id *and* the time of a stored one, so that their contents must be compared.
    """
    for name in ("keep", "judged", "contested", "stored_ids", "firsts"):
        con.execute(f"DROP TABLE IF EXISTS {name} CASCADE")
    con.execute(
        "CREATE TABLE firsts AS SELECT id, min(emitted_at) AS moment, count(*) AS n, arg_min(rowid, emitted_at) AS rid"
        " FROM staged GROUP BY id"
    )
    con.register("stored", stored)
    con.execute(
        "CREATE TABLE stored_ids AS SELECT id, stored.emitted_at::TIMESTAMP AS moment, _file FROM stored"
        " SEMI JOIN firsts USING (id)"
    )
    con.unregister("stored")
    con.execute(
        "CREATE TABLE contested AS SELECT id, moment FROM firsts WHERE n > 1"
        " UNION SELECT id, moment FROM stored_ids SEMI JOIN firsts USING (id, moment)"
    )
    _judge(con, dataset, stored_rows)
    con.execute(
        "CREATE TABLE keep AS SELECT f.id, coalesce(j.best.rid, f.rid) AS rid, s.id IS NOT NULL AS replaces"
        " FROM firsts f LEFT JOIN stored_ids s USING (id) LEFT JOIN judged j USING (id)"
        " WHERE s.id IS NULL OR s.moment > f.moment OR (s.moment = f.moment AND NOT j.best.is_stored)"
    )
    con.execute(f"CREATE OR REPLACE VIEW fresh AS {_fresh(dataset)}")
    new = con.execute(
        "SELECT file_no, count(*) FROM staged JOIN keep ON staged.rowid = keep.rid WHERE NOT replaces GROUP BY 1"
    ).fetchall()
    rewrite = con.execute("SELECT DISTINCT _file FROM stored_ids SEMI JOIN (FROM keep WHERE replaces) USING (id)")
    files = tuple(sorted(number for (number,) in rewrite.fetchall()))
    replaced = _one(con, "SELECT count(*) FROM keep WHERE replaces")
    return HistoryPlan(dict(new), replaced, files)


def _judge(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    stored_rows: Callable[[list[int]], pa.RecordBatchReader],
) -> None:
    """Picks the smallest canonical JSON per contested id, into `judged` (id, best {is_stored, rid})."""
    ties = con.execute("SELECT DISTINCT _file FROM stored_ids SEMI JOIN contested USING (id, moment)").fetchall()
    tied = "SELECT NULL::VARCHAR AS id, {'is_stored': true, 'rid': 0::BIGINT} AS who, NULL AS rank WHERE false"

    def rank(fresh: str, key: str, line: str) -> str:
        # Of equal contents the stored one stays, so that nothing is rewritten; then any rule that never changes.
        return f"{{'text': {canonical(dataset)}, 'fresh': {fresh}, 'key': {key}, 'line': {line}}}"

    if ties:
        con.register("tied_rows", stored_rows(sorted(number for (number,) in ties)))
        tied = (
            "SELECT id, {'is_stored': true, 'rid': NULL::BIGINT} AS who, "
            + rank("false", "source_file", "source_line")
            + f" AS rank FROM {as_staged(dataset, 'tied_rows')} r"
            + " JOIN contested c USING (id) WHERE r.emitted_at = c.moment"
        )
    con.execute(
        "CREATE TABLE judged AS SELECT id, arg_min(who, rank) AS best FROM ("
        " SELECT id, {'is_stored': false, 'rid': r.rowid} AS who, "
        + rank("true", "f.key", "r.line_no")
        + " AS rank FROM staged r JOIN contested c USING (id) JOIN files f USING (file_no)"
        + " WHERE r.emitted_at = c.moment"
        + f" UNION ALL {tied}) GROUP BY id"
    )
    if ties:
        con.unregister("tied_rows")


def as_staged(dataset: Dataset, stored: str) -> str:
    """Stored rows as a FROM item with times as `staged` has them, without a zone: what `canonical` reads."""
    times = sorted(name for name, kind, _ in dataset.columns if kind == "timestamp")
    cast = ", ".join(f"{quote(name)}::TIMESTAMP AS {quote(name)}" for name in times)
    return f"(SELECT * REPLACE ({cast}) FROM {stored})"


def rows_to_write(dataset: Dataset, layout: TableLayout, source: str) -> str:
    """The statement that streams `source` (a FROM item with the record columns) in the order of a table's files."""
    names = ", ".join(quote(name) for name in record_columns(dataset))
    order = ", ".join(["_partition", *(quote(name) for name in layout.sort)])
    return f"SELECT {names}, {partition_value(layout.partition)} AS _partition FROM {source} ORDER BY {order}"


def history_source(dataset: Dataset, *, rewritten: bool) -> str:
    """What goes into new history files: `fresh`, and of the `rewritten` files the rows that stay."""
    if not rewritten:
        return "fresh"
    names = ", ".join(quote(name) for name in record_columns(dataset))
    return (
        f"(SELECT {names} FROM fresh UNION ALL SELECT {names} FROM rewritten"
        " ANTI JOIN (FROM keep WHERE replaces) USING (id))"
    )


def plan_current(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    current: pa.RecordBatchReader,
    deletes: Callable[[], pa.RecordBatchReader] | None,
) -> tuple[int, ...]:
    """Decides how `fresh` changes the current table; returns the numbers of the scanned files to rewrite.

    Args:
        current: (key columns, order column, id, _file) of the whole current table.
        deletes: (key columns, order column, id) of the delete records in history; asked for only if an incoming key
            has no current row, which can mean that a delete took it.
    """
    _hold(con, dataset, current, f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS top FROM fresh GROUP BY ALL")
    buried = ""
    if deletes and _one(con, f"SELECT count(*) FROM best ANTI JOIN held USING ({_keys(dataset)})"):
        con.register("deletes", deletes())
        con.execute(
            f"CREATE OR REPLACE TABLE buried AS SELECT {_keys(dataset)}, max({_place(dataset)}) AS place FROM deletes"
            f" SEMI JOIN best USING ({_keys(dataset)}) GROUP BY ALL"
        )
        con.unregister("deletes")
        buried = f" ANTI JOIN buried d ON {_same(dataset, 'b', 'd')} AND d.place > {_BEST_PLACE}"
    return _change(
        con,
        dataset,
        # A key can have two rows if another engine wrote them: then the greater is to be beaten, and both leave.
        f"SELECT b.* FROM best b{buried}"
        f" LEFT JOIN (SELECT {_keys(dataset)}, max(top) AS top FROM held GROUP BY ALL) h USING ({_keys(dataset)})"
        f" WHERE h.top IS NULL OR {_BEST_PLACE} > h.top",
    )


def replan_current(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    current: pa.RecordBatchReader,
    history: pa.RecordBatchReader,
) -> tuple[int, ...]:
    """As `plan_current`, from the whole history: for when stored records were replaced, and order alone is no guide.

    Needs the table `touched` (key columns). `history` is (key columns, order, id[, delete column]) of all history.
    The caller then defines `fresh` as the history rows whose ids are in `best`.
    """
    con.register("past", history)
    best = (
        f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS top FROM past SEMI JOIN touched USING ({_keys(dataset)})"
        " GROUP BY ALL"
    )
    con.execute(f"CREATE OR REPLACE TABLE ranked AS {best}")
    con.unregister("past")
    gone = "{'moment': NULL, 'id': NULL, 'gone': true}"
    _hold(
        con,
        dataset,
        current,
        f"SELECT {_keys(dataset)}, coalesce(top, {gone}) AS top FROM touched LEFT JOIN ranked USING ({_keys(dataset)})",
    )
    return _change(con, dataset, "SELECT * FROM best")


def current_ids(dataset: Dataset, history: str) -> str:
    """The statement that gives the key and the `_id` of each current row, from all `columns_for_current` of history."""
    winners = f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS top FROM {history} GROUP BY ALL"
    return f"SELECT {_keys(dataset)}, top.id AS _id FROM ({winners}) WHERE NOT top.gone"


def _hold(con: duckdb.DuckDBPyConnection, dataset: Dataset, current: pa.RecordBatchReader, best: str) -> None:
    """Makes `best` (keys, top {moment, id, gone}) and `held` (keys, top {moment, id}, _file), its current rows."""
    con.execute(f"CREATE OR REPLACE TABLE best AS {best}")
    con.register("current_rows", current)
    con.execute(
        f"CREATE OR REPLACE TABLE held AS SELECT {_keys(dataset)}, {_place(dataset)} AS top, _file FROM current_rows"
        f" SEMI JOIN best USING ({_keys(dataset)})"
    )
    con.unregister("current_rows")


def _change(con: duckdb.DuckDBPyConnection, dataset: Dataset, winners: str) -> tuple[int, ...]:
    con.execute(f"CREATE OR REPLACE TABLE winners AS {winners}")
    con.execute(
        f"CREATE OR REPLACE TABLE removed AS SELECT {_keys(dataset)}, _file FROM held"
        f" SEMI JOIN winners USING ({_keys(dataset)})"
    )
    con.execute("CREATE OR REPLACE TABLE inserted AS SELECT top.id AS id FROM winners WHERE NOT top.gone")
    return tuple(sorted(n for (n,) in con.execute("SELECT DISTINCT _file FROM removed").fetchall()))


def current_source(dataset: Dataset, *, rewritten: bool) -> str:
    """What goes into new current files: the `inserted` rows of `fresh`, and of `rewritten` the rows that stay."""
    names = ", ".join(quote(name) for name in record_columns(dataset))
    inserted = f"SELECT {names} FROM fresh SEMI JOIN inserted USING (id)"
    if not rewritten:
        return f"({inserted})"
    return f"({inserted} UNION ALL SELECT {names} FROM rewritten ANTI JOIN removed USING ({_keys(dataset)}))"


def sizes(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many rows enter and leave the current table."""
    return _one(con, "SELECT count(*) FROM inserted"), _one(con, "SELECT count(*) FROM removed")


def _fresh(dataset: Dataset) -> str:
    return (
        f"SELECT {', '.join(record_values(dataset))}"
        # A semi join hashes the narrow side; a join might choose to hash the wide one.
        " FROM staged r JOIN files f USING (file_no) SEMI JOIN keep ON r.rowid = keep.rid"
    )


def record_values(dataset: Dataset) -> list[str]:
    """SQL for each of the record columns, from a staged row `r` and its file `f`."""
    values = [f"r.{quote(field.column)}" for field in dataset.newest.fields]
    values += [
        f"{promoted_value(promotion, f'r.{quote(promotion.source)}')} AS {quote(promotion.column)}"
        for promotion in dataset.promoted
    ]
    return [*values, "r.extra", "f.source_file", "r.line_no AS source_line"]


def promoted_value(promotion: Promotion, source: str) -> str:
    """SQL for a promoted column, from SQL for the map that it is promoted from. NULL where the value does not fit."""
    text = f"{source}[{literal(promotion.key)}]"
    text = f"json_extract_string({text}, '$')" if promotion.source == "extra" else text
    text = f"try_cast({text} AS TIMESTAMPTZ)" if promotion.type == "timestamp" else text
    return f"try_cast({text} AS {sql_type(promotion.type)})"


def partition_value(partition: Partition) -> str:
    """SQL for a row's partition value, as Iceberg's transforms define it (days or months since 1970, murmur3)."""
    if partition.transform == "none" or partition.column is None:
        return "NULL::INTEGER"
    column = quote(partition.column)
    if partition.transform == "bucket":
        return f"iceberg_bucket({column})"
    return f"date_diff({literal(partition.transform)}, DATE '1970-01-01', CAST({column} AS DATE))::INTEGER"


def canonical(dataset: Dataset) -> str:
    """SQL for a record's canonical JSON: compact, keys sorted, rebuilt from the values that the tables keep.

    A map keeps the text of its values, so a value that reads as a JSON number, boolean, object or array is taken for
    one. Absent and null fields are left out.
    """
    entries = []
    for field in dataset.newest.fields:
        column = f"r.{quote(field.column)}"
        if field.type == "map":
            text = (
                f"'{{' || coalesce(list_aggregate(list_transform(list_sort(map_entries({column})), lambda {_E}:"
                f" to_json({_E}.key)::VARCHAR || ':' || CASE WHEN {_E}.value IS NULL THEN 'null'"
                f" WHEN {_E}.value[1] <> '\"' AND {_E}.value <> 'null' AND json_valid({_E}.value) THEN {_E}.value"
                f" ELSE to_json({_E}.value)::VARCHAR END), 'string_agg', ','), '') || '}}'"
            )
        elif field.type == "timestamp":
            text = f"strftime({column}, '\"%Y-%m-%dT%H:%M:%S.%fZ\"')"
        elif field.type in ("string", "date"):
            text = f"to_json({column}::VARCHAR)::VARCHAR"
        else:
            text = f"{column}::VARCHAR"
        entries.append(f"{{'k': {literal(field.json)}, 'v': CASE WHEN {column} IS NOT NULL THEN {text} END}}")
    known = f"list_filter([{', '.join(entries)}], lambda {_E}: {_E}.v IS NOT NULL)"
    extra = f"list_transform(map_entries(r.extra), lambda {_E}: {{'k': {_E}.key, 'v': {_E}.value}})"
    return (
        f"'{{' || list_aggregate(list_transform(list_sort(list_concat({known}, {extra})),"
        f" lambda {_E}: to_json({_E}.k)::VARCHAR || ':' || {_E}.v), 'string_agg', ',') || '}}'"
    )


def _keys(dataset: Dataset) -> str:
    return ", ".join(quote(name) for name in dataset.key)


def _same(dataset: Dataset, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} = {right}.{quote(name)}" for name in dataset.key)


def _place(dataset: Dataset) -> str:
    """A record's place in its entity's order."""
    return f"{{'moment': {quote(dataset.order)}{_untimed(dataset)}, 'id': id}}"


def _top(dataset: Dataset) -> str:
    """The same, and whether the record is a delete. `id` is unique, so the third part never decides."""
    gone = "false"
    if dataset.delete:
        gone = f"{quote(dataset.delete.column)} IN ({', '.join(map(literal, dataset.delete.values))})"
    return f"{{'moment': {quote(dataset.order)}{_untimed(dataset)}, 'id': id, 'gone': coalesce({gone}, false)}}"


def _untimed(dataset: Dataset) -> str:
    """Tables have timestamps with a zone, staged rows without: both are UTC, and compare as such."""
    kind = next(kind for name, kind, _ in dataset.columns if name == dataset.order)
    return "::TIMESTAMP" if kind == "timestamp" else ""


def _one(con: duckdb.DuckDBPyConnection, statement: str) -> int:
    row = con.execute(statement).fetchone()
    return int(row[0]) if row else 0


def columns_for_current(dataset: Dataset) -> Sequence[str]:
    """The columns by which a record's place among its entity's records is told."""
    names = [*dataset.key, dataset.order, "id"]
    return list(dict.fromkeys([*names, dataset.delete.column] if dataset.delete else names))

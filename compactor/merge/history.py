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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import duckdb
import pyarrow as pa

from compactor.duck.sql import number, quote
from compactor.merge.canonical import as_staged, canonical
from compactor.merge.columns import record_columns, record_values
from compactor.registry.dataset import Dataset


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
    replaced = number(con, "SELECT count(*) FROM keep WHERE replaces")
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


def history_source(dataset: Dataset, *, rewritten: bool) -> str:
    """What goes into new history files: `fresh`, and of the `rewritten` files the rows that stay."""
    if not rewritten:
        return "fresh"
    names = ", ".join(quote(name) for name in record_columns(dataset))
    return (
        f"(SELECT {names} FROM fresh UNION ALL SELECT {names} FROM rewritten"
        " ANTI JOIN (FROM keep WHERE replaces) USING (id))"
    )


def _fresh(dataset: Dataset) -> str:
    return (
        f"SELECT {', '.join(record_values(dataset))}"
        # A semi join hashes the narrow side; a join might choose to hash the wide one.
        " FROM staged r JOIN files f USING (file_no) SEMI JOIN keep ON r.rowid = keep.rid"
    )

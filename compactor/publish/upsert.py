"""Upserts into the program's own tables: the ledger, the quarantine, the runs, the acknowledgements.

They change by `put`: rows replace those with the same key, in one commit that is planned again after a conflict. A put
is idempotent, so that the next run can finish what an interrupted one has begun.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Literal

import duckdb

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, quote
from compactor.engines.foreign import with_foreign
from compactor.errors import ConflictError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, OWN_TABLES, QUARANTINE
from compactor.lake.retry import on_conflict
from compactor.lake.table import RUN_ID, DataFile, Table
from compactor.publish import past

OBJECT = ("dataset", "key", "etag")
LINES_OF_OBJECT = ("dataset", "source_file", "etag")
RUN = ("run_id", "dataset")
_ROW_OF = {QUARANTINE: (*LINES_OF_OBJECT, "source_line")}
"""The columns that identify one row, where the key of a put identifies a group of them."""
ACKNOWLEDGEMENT = ("dataset", "key", "etag", "line")
RECOVERED = "recovered"
"""In place of an ETag: lines that the history has, of an object whose row in the ledger was lost."""
_BATCH_ROWS = 65_536


def put(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    name: str,
    key: Sequence[str],
    rows: Callable[[Relations, Table], Relation | None],
    *,
    commit_id: str,
    run_id: str,
    existing: Literal["replace", "keep"] = "replace",
    scope: Relation | None = None,
    moved: Relation | None = None,
    always: bool = False,
) -> None:
    """Puts rows into one of the program's own tables.

    Args:
        name: the table.
        key: the columns that identify a row, or a group of rows.
        rows: gives the rows, with the table's columns, or None if another run has put them already. Called after the
            table was loaded, at each attempt: what is committed after that call makes this commit a conflict.
        existing: what happens to rows that the table has under the same key: they are replaced, or they stay and the
            incoming ones are dropped.
        scope: has the key columns of the rows that are replaced. Default: those of `rows`.
        moved: has the key columns of those of them that are replaced even if existing rows stay.
        always: commit even if no row changes, unless the table has the commit already: it then shows that this is done.

    Raises ConflictError when other writers were first at each of `commit.attempts` attempts.
    """
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt, Relations(con) as relations:
            table = lake.table(name)
            incoming = rows(relations, table)
            if incoming is not None:
                reach = scope or incoming
                leaving = reach if existing == "replace" else moved
                _put(relations, table, incoming, reach, leaving, key, lake, run_id, commit_id, always=always)


def _put(
    relations: Relations,
    table: Table,
    incoming: Relation,
    scope: Relation,
    leaving: Relation | None,
    key: Sequence[str],
    lake: Lakehouse,
    run_id: str,
    commit_id: str,
    *,
    always: bool,
) -> None:
    """Plans one attempt on the table as it was loaded, writes the files and commits them.

    Rows of `scope` that are not `leaving` stay.
    """
    con, keys = relations.con, ", ".join(map(quote, key))
    replaced = relations.table("replaced", f"SELECT DISTINCT {keys} FROM {scope}")
    # Of the files, the first column of the key says which can have these rows: it is a dataset, or a run.
    groups = [str(value) for (value,) in con.execute(f"SELECT DISTINCT {quote(key[0])} FROM {replaced}").fetchall()]
    scan = table.scan(key, where={key[0]: groups}, with_file=True)
    with relations.arrow("stored_keys", scan.batches) as stored:
        found = relations.table(
            "found", f"SELECT DISTINCT {keys}, __file FROM {stored} SEMI JOIN {replaced} USING ({keys})"
        )
    staying_keys, remove = f"{found}", list[DataFile]()
    if leaving is not None:
        staying_keys = f"(SELECT {keys} FROM {found} ANTI JOIN {leaving} USING ({keys}))"
        numbers = con.execute(f"SELECT DISTINCT __file FROM {found} SEMI JOIN {leaving} USING ({keys}) ORDER BY 1")
        remove = [scan.files[n] for (n,) in numbers.fetchall()]
    foreign = table.foreign_columns(incoming.columns)
    incoming = with_foreign(relations, incoming, table, remove, foreign, _ROW_OF.get(table.name, key))
    statement = f"SELECT * FROM {incoming} ANTI JOIN {staying_keys} USING ({keys})"
    sort = OWN_TABLES[table.name].sort
    staying = table.scan(table.schema.names, paths=[file.file_path for file in remove])
    with relations.arrow("staying", staying.batches) as kept:
        if remove:
            statement += f" UNION ALL BY NAME SELECT * FROM {kept} ANTI JOIN {leaving} USING ({keys})"
        with table.writer(target_bytes=int(lake.config.tables.target_file_bytes), sorted_by=sort) as writer:
            ordered = con.execute(f"SELECT * FROM ({statement}) ORDER BY {', '.join(map(quote, sort))}")
            added = writer.write_all(ordered.to_arrow_reader(_BATCH_ROWS))
    if not added and not remove and not (always and table.find(commit_id) is None):
        return
    try:
        table.commit(added, remove, {RUN_ID: run_id}, commit_id=commit_id)
    except ConflictError:
        table.discard(added)
        raise


def put_objects(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    entries: Relation,
    still: Callable[[], bool],
    *,
    existing: Literal["replace", "keep"],
    commit_id: str,
    run_id: str,
    always: bool = False,
) -> None:
    """Puts rows into the ledger.

    Args:
        entries: with the ledger's columns. A row of RECOVERED lines takes the place of the one that is there; without
            lines it takes that one away.
        still: whether the rows are still to be put; asked after the ledger was loaded.
    """
    with Relations(con) as relations:
        moved = relations.view("moved", f"SELECT {', '.join(OBJECT)} FROM {entries} WHERE etag = {literal(RECOVERED)}")
        rows = relations.view("rows", f"SELECT * FROM {entries} WHERE etag <> {literal(RECOVERED)} OR lines > 0")
        put(
            lake,
            con,
            FILES,
            OBJECT,
            lambda _relations, _table: rows if still() else None,
            existing=existing,
            scope=entries,
            moved=moved,
            commit_id=commit_id,
            run_id=run_id,
            always=always,
        )


def restore(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    name: str,
    key: Sequence[str],
    dataset: str,
    tag: str,
    *,
    run_id: str,
) -> None:
    """Puts a dataset's rows of one of the program's own tables back as they were when it was tagged."""
    with Relations(con) as relations:
        table, where = lake.table(name), {"dataset": dataset}
        restored = relations.stored("restored", past.scan(table, table.schema.names, where, tag))
        keys = ", ".join(map(quote, key))
        with relations.arrow("keys_now", table.scan(key, where=where).batches) as now:
            scope = relations.table("scope", f"SELECT {keys} FROM {now} UNION SELECT {keys} FROM {restored}")
        put(
            lake,
            con,
            name,
            key,
            lambda _relations, _table: restored,
            scope=scope,
            commit_id=uuid.uuid4().hex,
            run_id=run_id,
        )

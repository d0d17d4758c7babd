"""Publishes a batch that lies in a session: history, then current state, then quarantine and ledger.

Iceberg commits one table at a time, so the order of commits and the marks they carry keep the tables in agreement:

1. What quarantine and ledger will say is written to a *note* beside the ledger.
2. The commit of the history decides. Its snapshot names the note.
3. Current state, quarantine and ledger follow from 1 and 2. Each of these can be repeated and changes nothing then.
4. The note is deleted.

A batch that stopped between 2 and 4 is *unfinished*. Whoever comes next, after a crash or at the same time, finishes
it before it plans anything on that dataset (`settled`). See docs/design/0001-commit-protocol.md.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType

from compactor import engine, ledger, merge, shape
from compactor.catalog import FILES, Lakehouse, bloom
from compactor.errors import CompactorError, ConflictError, InvariantError, ShapeChanged
from compactor.note import Note
from compactor.registry import Dataset, TableLayout
from compactor.sql import quote, sql_type
from compactor.table import RUN_ID, DataFile, Schema, Table

log = logging.getLogger(__name__)

_BATCH_ROWS = 65_536


@dataclass
class Published:
    """What became of a batch: new history rows per file_no, and the snapshots made, by table."""

    new: Mapping[int, int]
    snapshots: dict[str, int] = field(default_factory=dict)


def settled(lake: Lakehouse, dataset: Dataset) -> Table:
    """The dataset's history, loaded, with nothing unfinished in it. What a plan reads must be loaded after this.

    Raises ShapeChanged where the tables no longer have the dataset's shape.
    """
    while True:
        history = lake.table(dataset.history_table)
        shape.check(dataset, history)
        note = Note.of(lake, history)
        if note is None:
            return history
        if note.mode == "migrate" and dataset.current_table:
            shape.check(dataset, _current(lake, dataset))
        log.info("%s: finishing the batch of run %s", dataset.name, note.run_id)
        _finish(lake, dataset, history, note)


def plan(con: duckdb.DuckDBPyConnection, dataset: Dataset, history: Table) -> tuple[merge.HistoryPlan, list[DataFile]]:
    """Plans the session's batch against the history. Returns the plan and the data files that it rewrites."""
    narrow = history.scan(["id", "emitted_at"], with_file=True)

    def full(numbers: list[int]) -> pa.RecordBatchReader:
        return history.scan(merge.record_columns(dataset), paths=[narrow.files[n].file_path for n in numbers]).batches

    planned = merge.plan_history(con, dataset, narrow.batches, full)
    return planned, [narrow.files[number] for number in planned.rewrite]


def publish(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    history: Table,
    planned: merge.HistoryPlan,
    rewrite: Sequence[DataFile],
    *,
    run_id: str,
    replaces_entries: bool,
) -> Published:
    """Publishes a planned batch, with the ledger and quarantine rows in `ledger_rows` and `quarantine_rows`.

    Raises:
        ConflictError: the history has changed since it was loaded. Nothing is visible; plan again.
        InvariantError: what was written is not what was planned. Nothing is visible.
    """
    published = Published(planned.new)
    quarantined = int(con.execute("SELECT count(*) FROM quarantine_rows").fetchall()[0][0])
    if not (planned.rows or quarantined or replaces_entries):
        # Duplicates alone. The ledger keeps the first word on an object, so this may be said late and twice.
        commit_id = uuid.uuid4().hex
        ledger.put(lake, con, FILES, "ledger_rows", ledger.OBJECT, existing="keep", commit_id=commit_id, run_id=run_id)
        return published
    note = Note.new(lake, run_id, "replace" if replaces_entries else "keep")
    note.write(con)
    try:
        published.snapshots[dataset.history_table] = _swap(
            lake,
            con,
            dataset,
            history,
            dataset.history,
            rows=planned.rows,
            dropped=planned.replaced + planned.surplus,
            remove=rewrite,
            source=merge.history_source,
            properties={RUN_ID: run_id, **note.properties},
            commit_id=note.commit_id,
        )
    except ConflictError:
        note.delete()
        raise
    try:
        _follow(lake, con, dataset, planned, note)
    except ConflictError as error:
        raise CompactorError(
            f"{dataset.name}: other runs kept committing first; the batch is in the history, and the next run"
            " brings the other tables up to it: run again"
        ) from error
    if dataset.current_table:
        current = _current(lake, dataset).find(note.commit_id)
        published.snapshots.update({dataset.current_table: current.snapshot_id} if current else {})
    return published


def _follow(
    lake: Lakehouse, con: duckdb.DuckDBPyConnection, dataset: Dataset, planned: merge.HistoryPlan, note: Note
) -> None:
    """Brings the other tables up to the history commit that has just landed."""
    if planned.replaced:
        # Stored records changed: order alone does not tell what that does to current state. Start from history.
        with suppress(ShapeChanged):  # nothing was unfinished any more when the tables were migrated
            settled(lake, dataset)
        return
    if dataset.current_table and planned.rows:
        _merge_current(lake, con, dataset, note)
    note.settle(con)


def _finish(lake: Lakehouse, dataset: Dataset, history: Table, note: Note) -> None:
    with engine.session(lake.config.resources) as con:
        added, removed = history.changed_files(note.snapshot)
        if dataset.current_table and note.mode != "migrate":
            if removed:
                _replan_current(lake, con, dataset, note, [*added, *removed])
            elif added:
                rows = history.scan_files(merge.record_columns(dataset), added)
                con.register("added", rows.batches)
                con.execute("CREATE TABLE fresh AS SELECT * FROM added")
                con.unregister("added")
                _merge_current(lake, con, dataset, note)
        if note.read(con):
            note.settle(con)


def _merge_current(lake: Lakehouse, con: duckdb.DuckDBPyConnection, dataset: Dataset, note: Note) -> None:
    """Brings `fresh` into the current table, unless somebody else has finished the batch.

    Asked after the table was loaded, `note.exists` says that no later batch can have committed anything before that
    load; what one commits after it makes our commit a conflict.
    """
    columns = merge.columns_for_current(dataset)

    def deletes() -> pa.RecordBatchReader:
        # Loaded after the current table: it then has every delete that the current table can have seen.
        delete = dataset.delete
        where = {delete.column: list(delete.values)} if delete else {}
        return lake.table(dataset.history_table).scan(columns, where=where).batches

    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            current = _current(lake, dataset)
            if not note.exists():
                return
            scan = current.scan([*dataset.key, *_order(dataset)], with_file=True)
            numbers = merge.plan_current(con, dataset, scan.batches, deletes if dataset.delete else None)
            rewrite = [scan.files[number] for number in numbers]
            _swap_current(lake, con, dataset, current, rewrite, note.run_id, note.commit_id)


def _replan_current(
    lake: Lakehouse, con: duckdb.DuckDBPyConnection, dataset: Dataset, note: Note, files: Sequence[DataFile]
) -> None:
    """Derives the current rows of all keys in the given history files anew. As to others, see `_merge_current`."""
    keys = ", ".join(map(quote, dataset.key))
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            current = _current(lake, dataset)
            if not note.exists():
                return
            history = lake.table(dataset.history_table)
            con.register("changed", history.scan_files(list(dataset.key), files).batches)
            con.execute(f"CREATE OR REPLACE TABLE touched AS SELECT DISTINCT {keys} FROM changed")
            con.unregister("changed")
            rewrite = plan_derived(con, dataset, current, history)
            swap_derived(lake, con, dataset, current, history, rewrite, run_id=note.run_id, commit_id=note.commit_id)


def plan_derived(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, current: Table, history: Table, lost: Collection[str] = ()
) -> list[DataFile]:
    """Plans the current rows of the keys in `touched` anew from history, into `removed` and `inserted`.

    History must have been loaded after the current table: it then has all that the current table can have seen, and a
    batch under way finds its rows in place. `lost` are paths of data files that cannot be read. Returns the files to
    rewrite.
    """
    paths = [file.file_path for file in current.files if file.file_path not in lost] if lost else None
    scan = current.scan([*dataset.key, *_order(dataset)], paths=paths, with_file=True)
    past = history.scan(merge.columns_for_current(dataset))
    return [scan.files[number] for number in merge.replan_current(con, dataset, scan.batches, past.batches)]


def swap_derived(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    current: Table,
    history: Table,
    rewrite: Sequence[DataFile],
    *,
    run_id: str,
    commit_id: str,
    lost: Sequence[DataFile] = (),
) -> None:
    """Carries out what `plan_derived` planned, and takes the files `lost` out of the table.

    Raises ConflictError if the current table has changed since it was loaded; nothing is visible then.
    """
    con.register("history_rows", history.scan(merge.record_columns(dataset)).batches)
    con.execute("CREATE OR REPLACE TABLE fresh AS SELECT * FROM history_rows SEMI JOIN inserted USING (id)")
    con.unregister("history_rows")
    if con.execute("SELECT count(*) > (SELECT count(*) FROM inserted) FROM fresh").fetchall()[0][0]:
        # An id stands twice in the history, by another engine. Either will do until `repair` has put that right.
        con.execute("CREATE OR REPLACE TABLE fresh AS SELECT DISTINCT ON (id) * FROM fresh ORDER BY id, emitted_at")
    _swap_current(lake, con, dataset, current, rewrite, run_id, commit_id, lost)


def _swap_current(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    current: Table,
    rewrite: Sequence[DataFile],
    run_id: str,
    commit_id: str,
    lost: Sequence[DataFile] = (),
) -> None:
    inserted, removed = merge.sizes(con)
    if not inserted and not removed and not lost:
        return
    assert dataset.current is not None
    _swap(
        lake,
        con,
        dataset,
        current,
        dataset.current,
        rows=inserted,
        dropped=removed,
        remove=rewrite,
        lost=lost,
        source=merge.current_source,
        properties={RUN_ID: run_id},
        commit_id=commit_id,
    )


def _swap(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    table: Table,
    layout: TableLayout,
    *,
    rows: int,
    dropped: int,
    remove: Sequence[DataFile],
    lost: Sequence[DataFile] = (),
    source: merge.SourceOf,
    properties: Mapping[str, str],
    commit_id: str,
) -> int:
    """Writes `rows` rows and what stays of the files to `remove`, and commits the exchange; `lost` leave unread."""
    if layout.partition.transform == "bucket":
        _register_bucket(con, dataset, table, layout)
    staying = table.scan(merge.record_columns(dataset), paths=[file.file_path for file in remove])
    if remove:
        con.register("rewritten", staying.batches)
    statement = merge.rows_to_write(dataset, layout, source(dataset, rewritten=bool(remove)))
    expected = rows + sum(file.record_count for file in remove) - dropped
    with table.writer(target_bytes=int(lake.config.tables.target_file_bytes), bloom_columns=bloom(dataset)) as writer:
        added = writer.write_all(con.execute(statement).to_arrow_reader(_BATCH_ROWS))
        if writer.rows != expected and not staying.has_deletes:
            raise InvariantError(
                f"{table.identifier}: {writer.rows} rows written where {expected} were due; nothing was published."
                " Run `compactor verify --repair`, which tells of rows that stand twice; if it finds none, this is a"
                " defect: please report it with the log of the run"
            )
    if remove:
        con.unregister("rewritten")
    try:
        return table.commit(added, [*remove, *lost], properties, commit_id=commit_id)
    except ConflictError:
        writer.remove()
        raise


def rebuild_current(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    history: Table,
    current: Table,
    schema: Schema,
) -> list[DataFile]:
    """Writes all rows that the current table is to have, from history. Nothing names the files yet."""
    assert dataset.current is not None
    if dataset.current.partition.transform == "bucket":
        _register_bucket(con, dataset, history, dataset.current)
    con.register("past", history.scan(merge.columns_for_current(dataset)).batches)
    con.execute(f"CREATE OR REPLACE TABLE due AS {merge.current_ids(dataset, 'past')}")
    con.unregister("past")
    names = merge.record_columns(dataset)
    con.register("history_rows", history.scan(names).batches)
    rows = f"(SELECT {', '.join(map(quote, names))} FROM history_rows h SEMI JOIN due ON h.id = due._id)"
    statement = merge.rows_to_write(dataset, dataset.current, rows)
    target = int(lake.config.tables.target_file_bytes)
    with current.writer(target_bytes=target, bloom_columns=bloom(dataset), schema=schema) as writer:
        added = writer.write_all(con.execute(statement).to_arrow_reader(_BATCH_ROWS))
    con.unregister("history_rows")
    return added


def _register_bucket(con: duckdb.DuckDBPyConnection, dataset: Dataset, table: Table, layout: TableLayout) -> None:
    partition = layout.partition
    assert partition.column is not None
    assert partition.buckets is not None
    kind = sql_type(next(kind for name, kind, _ in dataset.columns if name == partition.column))
    transform = table.bucket(partition.column, partition.buckets)
    con.execute("DROP MACRO IF EXISTS iceberg_bucket")
    try:
        con.remove_function("iceberg_bucket_of_arrow")
    except duckdb.InvalidInputException:
        pass  # the first table of the session

    def bucket(values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  the engine would resolve annotations
        return transform(values)

    con.create_function("iceberg_bucket_of_arrow", bucket, [kind], "INTEGER", type=PythonUDFType.ARROW)
    con.execute(f"CREATE TEMP MACRO iceberg_bucket(value) AS iceberg_bucket_of_arrow(value::{kind})")


def _current(lake: Lakehouse, dataset: Dataset) -> Table:
    assert dataset.current_table is not None
    return lake.table(dataset.current_table)


def _order(dataset: Dataset) -> list[str]:
    return [name for name in dict.fromkeys((dataset.order, "id")) if name not in dataset.key]

"""Brings the tables to the registry's newest shape, and back: one dataset after the other, one commit a table.

    apply     1 tag ledger, quarantine, history and current   2 history   3 current   4 quarantine and ledger
    rollback  1 mark the history   2 ledger and quarantine    3 current   4 history, which loses the mark

Each step can be repeated, and whoever runs `apply` or `rollback` again goes on where a killed one stopped. A dataset
between two steps is refused by `compact`; one that is under way makes `compact` plan again. Rows that cannot be
brought to the new shape go to the quarantine, by a note as in `publish`. See docs/design/0004-schema-migration.md.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from compactor.commands.verify.differences import counts
from compactor.config import Config, IfRunning
from compactor.duck import session
from compactor.engines.local import rebuild_current
from compactor.errors import ConflictError, UsageError
from compactor.evolution import plan as migration
from compactor.evolution.rows import Rewriting
from compactor.lake import table_changes, table_version
from compactor.lake.catalog import Lakehouse, bloom
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.rewrite import rewrite
from compactor.lake.schema_change import evolved_schema
from compactor.lake.table import RUN_ID, DataFile, Table
from compactor.progress import Progress
from compactor.publish import accounting, lease, ledger
from compactor.publish.intent import Note
from compactor.publish.protocol import settled
from compactor.publish.run_log import Run, Tally, record
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.migration import DatasetRollback, MigrationPlan, MigrationReport, RollbackReport
from compactor.source import Hour

_FROM = "compactor.migrated-from"
"""A property of a migrated table: what it was before, for `rollback`, as JSON (tag, schema, marks, previous)."""


def plan(config: Config, registry: Registry, *, datasets: tuple[str, ...] = ()) -> MigrationPlan:
    """What `apply` would do. Changes nothing. Raises UsageError where a table cannot be changed so."""
    return migration.plan(Lakehouse(config), _chosen(registry, datasets))


def apply(
    config: Config, registry: Registry, *, datasets: tuple[str, ...] = (), plan_id: str | None, progress: Progress
) -> MigrationReport:
    """Migrates the tables of the datasets (default: all).

    Args:
        plan_id: the plan that was looked at; None: whatever the plan is now.

    Raises:
        UsageError: the plan is another one by now, or a table cannot be changed so.
        CompactorError: the catalog or the storage failed. Run it again.
    """
    chosen = _chosen(registry, datasets)
    lake = Lakehouse(config)
    lake.ensure_own()
    run = Run.begin("migrate", lake, progress)
    with lease.held(run, _if_running(config)):
        planned = migration.plan(lake, chosen)
        if plan_id not in (None, planned.plan_id):
            raise UsageError(
                f"plan {plan_id} is stale: registry or tables have changed since, the plan is {planned.plan_id} now;"
                " look at it with `compactor migrate plan`"
            )
        tags, quarantined = {}, {}
        for dataset in chosen:
            if lake.exists(dataset.history_table):
                refused = _apply(run, dataset)
                if refused is not None:
                    tags[dataset.name] = _before(lake.table(dataset.history_table))["tag"]
                    quarantined[dataset.name] = refused
        return MigrationReport(run.run_id, planned, tags, quarantined)


def _if_running(config: Config) -> IfRunning:
    """A migration waits for a run under way, since to leave would not migrate. Where runs ignore others, so does it."""
    return "ignore" if config.if_running == "ignore" else "wait"


def _chosen(registry: Registry, datasets: tuple[str, ...]) -> list[Dataset]:
    return [registry.get(name) for name in datasets or sorted(registry.datasets)]


def _apply(run: Run, listed: Dataset) -> int | None:
    """Migrates one dataset. Returns the number of rows that went to the quarantine; None if nothing was to be done."""
    lake, tally, changed = run.lake, Tally(started_at=ledger.now()), False
    new = table_version.target(listed, lake.table(listed.history_table).properties)
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            if table_version.of_table(new, lake.table(new.history_table).properties) != new:
                _migrate_history(run, new)
                changed = True
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            if new.current_table and table_version.of_table(new, lake.table(new.current_table).properties) != new:
                _migrate_current(run, new)
                changed = True
    note = Note.of(lake, lake.table(new.history_table))
    if note and note.mode == "migrate":
        with session.session(lake.config.resources) as con:
            if note.read(con):
                (refused,) = counts(con, f"SELECT count(*) FROM quarantine_rows WHERE run_id = '{note.run_id}'")
                tally.lines = tally.quarantined = refused
                note.settle(con)
        changed = True
    if not changed:
        return None
    record(run, new, tally)
    return tally.quarantined


def _migrate_history(run: Run, new: Dataset) -> None:
    lake = run.lake
    name = new.history_table
    old = lake.at_table_version(new)
    planned_on = settled(lake, old).snapshot_id
    tag = f"before-v{new.newest.number}-{run.run_id}-{uuid.uuid4().hex[:4]}"
    for each in (FILES, QUARANTINE, RUNS, *filter(None, (name, new.current_table))):
        _tag(lake, each, tag)
    history = lake.table(name)
    if history.snapshot_id != planned_on:
        raise ConflictError(f"{history.identifier}: another writer committed first")
    with session.session(lake.config.resources) as con:
        note = Note.new(lake, run.run_id, "migrate")
        files, added = _rewritten(run, con, history, old, new)
        (refused,) = counts(con, "SELECT count(*) FROM refused") if files else (0,)
        if refused:
            try:
                _account(con, lake, new, run.run_id)
                note.write(con)
            except Exception:
                history.discard(added)
                raise
        try:
            _reshape(
                history,
                old,
                new,
                added,
                files,
                tag,
                note.commit_id,
                {RUN_ID: run.run_id, **note.properties} if refused else {},
            )
        except ConflictError:
            note.delete()
            raise


def _migrate_current(run: Run, new: Dataset) -> None:
    """Brings the current table to the history's shape: row by row or, if rows of the history were refused, anew."""
    lake = run.lake
    assert new.current_table is not None
    history, current = lake.table(new.history_table), lake.table(new.current_table)
    old = table_version.of_table(new, current.properties)
    note = Note.of(lake, history)
    with session.session(lake.config.resources) as con:
        if note and note.mode == "migrate":
            schema = evolved_schema(current, migration.target_columns(old, new))
            files: Sequence[DataFile] = current.files
            added = rebuild_current(lake, con, new, history, current, schema)
        else:
            files, added = _rewritten(run, con, current, old, new)
        _reshape(current, old, new, added, files, _before(history)["tag"], uuid.uuid4().hex, {})


def _rewritten(
    run: Run, con: duckdb.DuckDBPyConnection, table: Table, old: Dataset, new: Dataset
) -> tuple[Sequence[DataFile], list[DataFile]]:
    """The data files that go and those that come, which nothing names yet. None where the change is in place."""
    if not migration.is_rewrite(old, new):
        return [], []
    schema = evolved_schema(table, migration.target_columns(old, new))
    files = table.files
    run.progress.start(table.name, len(files), sum(file.file_size_in_bytes for file in files))
    run.progress.stage("rewriting")
    done = rows = 0

    def tell(files_done: int, rows_done: int) -> None:
        nonlocal done, rows
        size = sum(file.file_size_in_bytes for file in files[done:files_done])
        run.progress.advance(files=files_done - done, lines=rows_done - rows, compressed_bytes=size)
        done, rows = files_done, rows_done

    added = rewrite(
        table,
        schema,
        files,
        Rewriting(con, old, new),
        target_bytes=int(run.lake.config.tables.target_file_bytes),
        bloom_columns=bloom(new),
        on_progress=tell,
    )
    run.progress.finish()
    return files, added


def _reshape(
    table: Table,
    old: Dataset,
    new: Dataset,
    added: Sequence[DataFile],
    files: Sequence[DataFile],
    tag: str,
    commit_id: str,
    summary: Mapping[str, str],
) -> None:
    schema = evolved_schema(table, migration.target_columns(old, new))
    previous = _before(table) if _FROM in table.properties else None
    before = {"tag": tag, "schema": table.schema_id, "marks": table_version.marks(old), "previous": previous}
    properties = {**table_version.marks(new), _FROM: json.dumps(before)}
    try:
        table_changes.change_columns(
            table, schema, added, files, properties=properties, summary=summary, commit_id=commit_id
        )
    except ConflictError:
        table.discard(added)
        raise


def _tag(lake: Lakehouse, name: str, tag: str) -> None:
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            table_changes.tag(lake.table(name), tag)


def _account(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: Dataset, run_id: str) -> None:
    """Makes the note's `ledger_rows` and `quarantine_rows` from `refused`."""
    table, where = lake.table(FILES), {"dataset": dataset.name}
    con.register("entries", table.scan(table.schema.names, where=where).batches)
    con.execute("CREATE TABLE objects AS SELECT * FROM entries")
    con.unregister("entries")
    table = lake.table(QUARANTINE)
    con.register("lines", table.scan(table.schema.names, where=where).batches)
    con.execute("CREATE TABLE kept_lines AS SELECT * FROM lines")
    con.unregister("lines")
    accounting.enter_refused(con, dataset.name, run_id, ledger.now())


def rollback(
    config: Config, registry: Registry, *, datasets: tuple[str, ...] = (), confirmed: bool, progress: Progress
) -> RollbackReport:
    """Takes the last migration of the datasets (default: all that have one) back, and all that was loaded since.

    Args:
        confirmed: do it; else only tell what would be done.

    Raises:
        UsageError: there is nothing to roll back.
        CompactorError: the catalog or the storage failed. Run it again.
    """
    lake = Lakehouse(config)
    lake.ensure_own()
    run = Run.begin("rollback", lake, progress)
    with lease.held(run, _if_running(config) if confirmed else "ignore"):
        chosen = [each for each in _chosen(registry, datasets) if lake.exists(each.history_table)]
        found = [each for each in chosen if _FROM in lake.table(each.history_table).properties]
        if not found:
            raise UsageError("there is no migration to roll back")
        return RollbackReport(confirmed, tuple(_roll_back(run, each, confirmed=confirmed) for each in found))


def _roll_back(run: Run, listed: Dataset, *, confirmed: bool) -> DatasetRollback:
    lake = run.lake
    history = lake.table(listed.history_table)
    before = _before(history)
    tag = before["tag"]
    with session.session(lake.config.resources) as con:
        objects, lines, new = ledger.loaded_since(con, lake, listed.name, tag)
        if confirmed:
            if table_version.ROLLING_BACK not in history.properties:
                settled(lake, lake.at_table_version(listed))
                _mark(lake, listed.history_table, {table_version.ROLLING_BACK: tag})
            then = ledger.last_run(con, lake, listed.name, tag=tag)
            frontier = then.frontier if then else Hour("0001-01-01", 0)
            ledger.restore(lake, con, QUARANTINE, ledger.LINES_OF_OBJECT, listed.name, tag, run_id=run.run_id)
            ledger.restore(lake, con, FILES, ledger.OBJECT, listed.name, tag, run_id=run.run_id)
            for name in filter(None, (listed.current_table, listed.history_table)):
                _return(lake, name, tag)
            record(run, listed, Tally(started_at=run.started_at), frontier)
    return DatasetRollback(
        dataset=listed.name,
        tag=tag,
        from_version=table_version.version(history.properties, listed),
        to_version=table_version.version(before["marks"], listed),
        objects=objects,
        lines=lines,
        new=new,
    )


def _mark(lake: Lakehouse, name: str, properties: Mapping[str, str | None]) -> None:
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            table_changes.set_properties(lake.table(name), properties, commit_id=uuid.uuid4().hex)


def _return(lake: Lakehouse, name: str, tag: str) -> None:
    """Takes a table back to the tag, unless it is there already."""
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            if _FROM not in table.properties or _before(table)["tag"] != tag:
                return
            before = _before(table)
            previous = json.dumps(before["previous"]) if before["previous"] else None
            properties = {**before["marks"], _FROM: previous, table_version.ROLLING_BACK: None}
            table_changes.roll_back(
                table, tag, schema_id=before["schema"], properties=properties, commit_id=uuid.uuid4().hex
            )


def _before(table: Table) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(table.properties[_FROM])
    return found

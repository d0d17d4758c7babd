"""`migrate plan` and `migrate apply`: bring the tables to the registry's newest version, one dataset after the other.

    1 tag ledger, quarantine, runs, history and current   2 history   3 current   4 quarantine and ledger

Each step is one commit of each table, and idempotent: the next `apply` continues where a killed one stopped. `compact`
refuses a dataset that is between two steps, and plans again when a migration overtakes it. Rows that cannot be
converted to the new version go to the quarantine, by a commit intent as in `publish`. See
docs/design/0004-schema-migration.md.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from compactor.commands.migrate.origin import PROPERTY, Origin
from compactor.config import Config, IfRunning
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, number
from compactor.engines.local import open_batch
from compactor.engines.rebuild import rebuild_current
from compactor.errors import ConflictError, UsageError
from compactor.evolution import plan as migration
from compactor.evolution.rows import RowConversion
from compactor.lake import table_changes, table_version
from compactor.lake.catalog import Lakehouse, bloom, bloom_properties
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.retry import on_conflict
from compactor.lake.rewrite import rewrite
from compactor.lake.table import RUN_ID, DataFile, Table
from compactor.progress import Progress
from compactor.publish import lease, moved, presence, run_log
from compactor.publish.accounting import Entries, account_refused
from compactor.publish.intent import CommitIntent
from compactor.publish.protocol import settled
from compactor.publish.run_log import Run, Tally
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.migration import MigrationPlan, MigrationReport


@dataclass(frozen=True)
class _Rewritten:
    """The data files of a table that leave and those that take their place, which no snapshot has yet.

    Attributes:
        refused, unfit: see `RowConversion`. `refused` is None where no file had to change.
    """

    removed: Sequence[DataFile] = ()
    added: Sequence[DataFile] = ()
    refused: Relation | None = None
    unfit: Counter[str] = field(default_factory=Counter)


def plan(config: Config, registry: Registry, *, datasets: tuple[str, ...] = ()) -> MigrationPlan:
    """What `apply` would do. Changes nothing. Raises UsageError where a table cannot be changed so."""
    return migration.plan(Lakehouse(config), chosen(registry, datasets))


def apply(
    config: Config, registry: Registry, *, datasets: tuple[str, ...] = (), plan_id: str | None, progress: Progress
) -> MigrationReport:
    """Migrates the tables of the datasets (default: all).

    Args:
        plan_id: the plan that was reviewed; None: the plan as it is now.

    Raises:
        UsageError: the plan is another one by now, or a table cannot be changed so.
        CompactorError: the catalog or the storage failed. Run it again.
    """
    found = chosen(registry, datasets)
    lake = Lakehouse(config)
    presence.check_own(lake, registry)
    lake.ensure_own()
    run = Run.begin("migrate", lake, progress)
    with lease.held(run, if_running(config)):
        planned = migration.plan(lake, found)
        if plan_id not in (None, planned.plan_id):
            raise UsageError(
                f"plan {plan_id} is stale: registry or tables have changed since, the plan is {planned.plan_id} now;"
                " look at it with `compactor migrate plan`"
            )
        tags, quarantined, unfit = {}, {}, {}
        for dataset in found:
            presence.check(lake, registry, dataset)
            if lake.exists(dataset.history_table):
                done = _apply(run, dataset)
                if done is not None:
                    tags[dataset.name] = _origin(lake.table(dataset.history_table)).tag
                    quarantined[dataset.name] = done.quarantined
                    if done.unfit:
                        unfit[dataset.name] = dict(done.unfit)
        presence.record(lake, found, run.run_id)
        return MigrationReport(run.run_id, planned, tags, quarantined, unfit)


def if_running(config: Config) -> IfRunning:
    """A migration waits for a run under way, because leaving would not migrate. It ignores others where runs do."""
    return "ignore" if config.if_running == "ignore" else "wait"


def chosen(registry: Registry, datasets: tuple[str, ...]) -> list[Dataset]:
    """The datasets to migrate, or to roll back. Default: all."""
    return [registry.get(name) for name in datasets or sorted(registry.datasets)]


def _apply(run: Run, listed: Dataset) -> Tally | None:
    """Migrates one dataset. Returns what was quarantined and what did not fit; None if nothing was to be done."""
    lake, tally, changed = run.lake, Tally(), False
    new = table_version.target(listed, lake.version_of(listed, lake.table(listed.history_table)))
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            if lake.version_of(new, lake.table(new.history_table)) != new:
                tally.unfit = _migrate_history(run, new)
                changed = True
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            if new.current_table and lake.version_of(new, lake.table(new.current_table)) != new:
                _migrate_current(run, new)
                changed = True
    intent = CommitIntent.of(lake, lake.table(new.history_table))
    if intent and intent.mode == "migrate":
        with session.session(lake.config.resources) as con, Relations(con) as relations:
            entries = intent.read(relations)
            if entries is None and intent.is_open():
                entries = _lost_entries(relations, lake, new, intent)
            if entries:
                mine = f"SELECT count(*) FROM {entries.quarantine} WHERE run_id = {literal(intent.run_id)}"
                tally.lines = tally.quarantined = number(con, mine)
                intent.settle(con, entries)
        changed = True
    if not changed:
        return None
    run_log.record(run, [(new, tally)])
    return tally


def _migrate_history(run: Run, new: Dataset) -> Counter[str]:
    """Brings the history to the new version. Returns by promoted column how many values do not fit it."""
    lake = run.lake
    name = new.history_table
    old = lake.at_table_version(new)
    planned_on = settled(lake, old, open_batch).snapshot_id
    tag = f"before-v{new.newest.number}-{run.run_id}-{uuid.uuid4().hex[:4]}"
    for each in (FILES, QUARANTINE, RUNS, *new.tables):
        _tag(lake, each, tag)
    history = lake.table(name)
    if history.snapshot_id != planned_on:
        raise ConflictError(f"{history.identifier}: another writer committed first")
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        intent = CommitIntent.new(lake, run.run_id, "migrate")
        files = _rewrite(run, relations, history, old, new)
        summary: Mapping[str, str] = {RUN_ID: run.run_id}
        if files.refused and (refused := relations.count(files.refused)):
            summary = {**summary, **intent.properties, **moved.properties(history, refused)}
            try:
                intent.write(con, _account(relations, lake, new, run.run_id, files.refused))
            except Exception:
                history.discard(files.added)
                raise
        try:
            _commit(history, old, new, files, tag, intent.commit_id, summary)
        except ConflictError:
            intent.delete()
            raise
        return files.unfit


def _migrate_current(run: Run, new: Dataset) -> None:
    """Brings the current table to the history's version: row by row or, if it must, all of it from the history.

    It must if rows were refused, or by another rule.
    """
    lake = run.lake
    assert new.current_table is not None
    history, current = lake.table(new.history_table), lake.table(new.current_table)
    old = lake.version_of(new, current)
    intent = CommitIntent.of(lake, history)
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        if (intent and intent.mode == "migrate") or migration.changes_rule(old, new):
            schema = migration.target_schema(current, old, new)
            files = _Rewritten(current.files, rebuild_current(lake, relations, new, history, current, schema))
        else:
            files = _rewrite(run, relations, current, old, new)
        _commit(current, old, new, files, _origin(history).tag, uuid.uuid4().hex, {RUN_ID: run.run_id})


def _rewrite(run: Run, relations: Relations, table: Table, old: Dataset, new: Dataset) -> _Rewritten:
    """Writes a table's data files again for the new version. None where the change is in place."""
    if not migration.is_rewrite(old, new):
        return _Rewritten()
    schema = migration.target_schema(table, old, new)
    files = table.files
    run.progress.start(table.name, len(files), sum(file.file_size_in_bytes for file in files))
    run.progress.stage("rewriting")
    done = rows = 0

    def report(files_done: int, rows_done: int) -> None:
        nonlocal done, rows
        size = sum(file.file_size_in_bytes for file in files[done:files_done])
        run.progress.advance(files=files_done - done, lines=rows_done - rows, compressed_bytes=size)
        done, rows = files_done, rows_done

    conversion = RowConversion(relations, old, new, table.foreign_columns(old.column_names))
    added = rewrite(
        table,
        schema,
        files,
        conversion,
        target_bytes=int(run.lake.config.tables.target_file_bytes),
        bloom_columns=bloom(new),
        on_progress=report,
    )
    run.progress.finish()
    return _Rewritten(files, added, conversion.refused, conversion.unfit)


def _commit(
    table: Table,
    old: Dataset,
    new: Dataset,
    files: _Rewritten,
    tag: str,
    commit_id: str,
    summary: Mapping[str, str],
) -> None:
    """Changes the columns and the files of a table in one commit.

    Raises ConflictError if another commit came first; then the new files are deleted.
    """
    schema = migration.target_schema(table, old, new)
    origin = Origin.of(table)
    marks = table_version.marks(old)
    origin = origin.after(tag, table.schema_id, marks) if origin else Origin(tag, table.schema_id, marks)
    properties = {**table_version.marks(new), **bloom_properties(new), PROPERTY: origin.text}
    try:
        table_changes.change_columns(
            table,
            schema,
            files.added,
            files.removed,
            properties=properties,
            summary=summary,
            commit_id=commit_id,
            snapshot=migration.changes_rule(old, new),
        )
    except ConflictError:
        table.discard(files.added)
        raise


def _tag(lake: Lakehouse, name: str, tag: str) -> None:
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            table_changes.tag(lake.table(name), tag)


def _account(relations: Relations, lake: Lakehouse, dataset: Dataset, run_id: str, refused: Relation) -> Entries:
    """What ledger and quarantine are to say of the rows that could not be converted."""
    objects = relations.stored("objects", _rows_of(lake.table(FILES), dataset))
    lines = relations.stored("lines", _rows_of(lake.table(QUARANTINE), dataset))
    return account_refused(relations, dataset.name, refused, objects, lines, run_id, run_log.now())


def _lost_entries(relations: Relations, lake: Lakehouse, new: Dataset, intent: CommitIntent) -> Entries:
    """The entries of a migrated history whose commit intent is gone, as after a restore of the catalog: the rows that
    could not be converted are found once more in the history as it was before.
    """
    history = lake.table(new.history_table)
    before = intent.snapshot.parent_snapshot_id
    conversion = RowConversion(relations, table_version.of_marks(new, _origin(history).marks, None), new)
    past = history.at(before) if before else history
    for file in past.files:
        for _ in conversion(past.stream(file)):
            pass
    # The quarantine may have them already, and the ledger not.
    lines = relations.stored("lines", _rows_of(lake.table(QUARANTINE), new))
    others = relations.view("others", f"SELECT * FROM {lines} WHERE run_id <> {literal(intent.run_id)}")
    objects = relations.stored("objects", _rows_of(lake.table(FILES), new))
    return account_refused(relations, new.name, conversion.refused, objects, others, intent.run_id, run_log.now())


def _rows_of(table: Table, dataset: Dataset) -> pa.RecordBatchReader:
    """The dataset's rows of one of the program's own tables."""
    return table.scan(table.schema.names, where={"dataset": dataset.name}).batches


def _origin(table: Table) -> Origin:
    found = Origin.of(table)
    assert found is not None  # it has just been migrated
    return found

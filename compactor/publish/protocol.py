"""Publishes a batch: history, then current state, then quarantine and ledger.

Iceberg commits one table at a time, so the order of commits and the marks they carry keep the tables in agreement:

1. What quarantine and ledger will say is written to a *commit intent* beside the ledger.
2. The commit of the history decides. Its snapshot names the intent.
3. Current state, quarantine and ledger follow from 1 and 2. Each of these steps is idempotent.
4. The intent is deleted.

A batch that stopped between 2 and 4 is *unfinished*. The next run, or one at the same time, finishes it before it plans
anything on that dataset (`settled`). See docs/design/0001-commit-protocol.md.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from compactor.duck.relations import Relations
from compactor.engines.base import Batch, Change, Engine, HistoryPlan
from compactor.errors import CompactorError, ConflictError, TableVersionChanged
from compactor.lake import table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.lake.retry import on_conflict
from compactor.lake.table import RUN_ID, Table
from compactor.publish import moved, recovered, upsert
from compactor.publish.accounting import Entries
from compactor.publish.intent import CommitIntent
from compactor.registry.dataset import Dataset

log = logging.getLogger(__name__)

R = TypeVar("R")
"""What an engine has rows in."""


@dataclass(frozen=True)
class Published:
    """What became of a batch.

    Attributes:
        snapshots: the snapshots made, by table.
        taken_over: duplicates that the ledger has as new, because no row of it said so (see `recovered`).
    """

    snapshots: Mapping[str, int] = field(default_factory=dict)
    taken_over: int = 0


def settled(lake: Lakehouse, dataset: Dataset, open_batch: Engine, *, run_id: str | None = None) -> Table:
    """The dataset's history, loaded, with no unfinished batch. What a plan reads must be loaded after this.

    Args:
        open_batch: the engine that finishes a batch which another run has left unfinished.
        run_id: the run that asks, where its own batch is the one to finish.

    Raises TableVersionChanged where the tables no longer have the dataset's version.
    """
    while True:
        history = lake.table(dataset.history_table)
        table_version.check(dataset, history)
        intent = CommitIntent.of(lake, history)
        if intent is None:
            return history
        if intent.mode == "migrate" and dataset.current_table:
            table_version.check(dataset, _current(lake, dataset))
        if intent.run_id != run_id:
            log.info("%s: finishing the batch that run %s has begun", dataset.name, intent.run_id)
        with open_batch(lake, dataset) as batch:
            if intent.exists():
                _finish(lake, batch, dataset, history, intent)
            else:
                _recover(lake, batch, dataset, history, intent)


def publish(
    lake: Lakehouse,
    batch: Batch[R],
    dataset: Dataset,
    history: Table,
    plan: HistoryPlan[R],
    entries: Entries,
    *,
    run_id: str,
    open_batch: Engine,
    replaces_entries: bool = False,
) -> Published:
    """Publishes a planned batch.

    Args:
        entries: what ledger and quarantine are to say of it.
        open_batch: the engine that finishes batches that others have left unfinished.
        replaces_entries: the ledger's rows take the place of those that are there.

    Raises:
        ConflictError: the history has changed since it was loaded. Nothing is visible; plan again.
        InvariantError: what was written is not what was planned. Nothing is visible.
        CompactorError: the history has the batch, and other runs were first at each attempt on the other tables.
    """
    con, snapshots = batch.con, {}
    rows, taken_over = recovered.taken_over(batch.relations, lake.table(FILES), dataset.name, entries.ledger)
    entries = Entries(rows, entries.quarantine)
    if not (plan.rows or replaces_entries or batch.relations.count(entries.quarantine)):
        # Duplicates alone. The ledger keeps what it says of an object, so this is idempotent.
        commit_id = uuid.uuid4().hex
        upsert.put_objects(lake, con, rows, lambda: True, existing="keep", commit_id=commit_id, run_id=run_id)
        return Published(taken_over=taken_over)
    intent = CommitIntent.new(lake, run_id, "replace" if replaces_entries else "keep")
    intent.write(con, entries)
    try:
        change = batch.history_change(history, plan)
        properties = {RUN_ID: run_id, **intent.properties, **moved.properties(history, plan.replaced)}
        snapshots[dataset.history_table] = commit(history, change, properties, intent.commit_id)
    except ConflictError:
        intent.delete()
        raise
    try:
        _follow(lake, batch, dataset, plan, entries, intent, open_batch)
    except ConflictError as error:
        raise CompactorError(
            f"{dataset.name}: other runs kept committing first; the batch is in the history, and the next run"
            " brings the other tables up to it: run again"
        ) from error
    if dataset.current_table:
        current = _current(lake, dataset).find(intent.commit_id)
        snapshots.update({dataset.current_table: current.snapshot_id} if current else {})
    return Published(snapshots, taken_over)


def commit(table: Table, change: Change, properties: Mapping[str, str], commit_id: str) -> int:
    """Commits a change and returns the snapshot's id.

    Raises ConflictError if the table has changed since it was loaded; nothing is visible then, and the files are gone.
    """
    try:
        return table.commit(change.add, change.remove, properties, commit_id=commit_id)
    except ConflictError:
        table.discard(change.add)
        raise


def _follow(
    lake: Lakehouse,
    batch: Batch[R],
    dataset: Dataset,
    plan: HistoryPlan[R],
    entries: Entries,
    intent: CommitIntent,
    open_batch: Engine,
) -> None:
    """Brings the other tables up to the history commit that has just landed."""
    if plan.replaced:
        # Stored records changed: order alone does not say what that does to current state. Start from history.
        with suppress(TableVersionChanged):  # nothing was unfinished any more when the tables were migrated
            settled(lake, dataset, open_batch, run_id=intent.run_id)
        return
    if dataset.current_table and plan.rows:
        merge_current(lake, batch, dataset, plan.fresh, intent)
    intent.settle(batch.con, entries)


def _finish(lake: Lakehouse, batch: Batch[R], dataset: Dataset, history: Table, intent: CommitIntent) -> None:
    """Does what is left of a batch whose history commit has landed: all of it is idempotent."""
    added, removed = history.changed_files(intent.snapshot)
    if dataset.current_table and intent.mode != "migrate":
        if removed:
            _derive_current(lake, batch, dataset, intent)
        elif added:
            merge_current(lake, batch, dataset, batch.adopt_snapshot(history, intent.snapshot), intent)
    with Relations(batch.con) as relations:
        entries = intent.read(relations)
        if entries:
            intent.settle(batch.con, entries)


def _recover(lake: Lakehouse, batch: Batch[R], dataset: Dataset, history: Table, intent: CommitIntent) -> None:
    """As `_finish`, for a batch whose commit intent is gone, so that what the ledger was to say is lost."""
    if not intent.is_open():
        return  # another run has finished it just now
    if intent.mode == "migrate":
        raise CompactorError(f"{dataset.name}: a migration was stopped; run `compactor migrate apply` to finish it")
    log.warning(
        "%s: the catalog is as it was while run %s published a batch, as after a restore; bringing the other tables up"
        " to the history",
        dataset.name,
        intent.run_id,
    )
    if dataset.current_table and any(history.changed_files(intent.snapshot)):
        _derive_current(lake, batch, dataset, intent)
    with Relations(batch.con) as relations:
        rows = recovered.rows_of_batch(relations, lake, dataset.name, history, intent, dt.datetime.now(dt.UTC))
        intent.put_ledger(batch.con, rows)


def merge_current(lake: Lakehouse, batch: Batch[R], dataset: Dataset, fresh: R, intent: CommitIntent) -> None:
    """Brings new history rows into the current table, unless another run has finished the batch.

    Asked after the table was loaded, `intent.is_open` says that no later batch can have committed anything before that
    load; what one commits after it makes our commit a conflict.
    """
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            current = _current(lake, dataset)
            if not intent.is_open():
                return
            change = batch.current_change(fresh, current, lambda: lake.table(dataset.history_table))
            commit_current(current, change, intent)


def _derive_current(lake: Lakehouse, batch: Batch[R], dataset: Dataset, intent: CommitIntent) -> None:
    """Derives the current rows of all keys in the history files that the batch changed. See `merge_current`.

    History is loaded after the current table: it then has all that the current table can have seen, and a batch under
    way finds its rows in place.
    """
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            current = _current(lake, dataset)
            if not intent.is_open():
                return
            change = batch.derived_change(current, lake.table(dataset.history_table), intent.snapshot)
            commit_current(current, change, intent)


def commit_current(current: Table, change: Change | None, intent: CommitIntent) -> None:
    """Commits what a batch changes in the current table, if anything."""
    if change:
        commit(current, change, {RUN_ID: intent.run_id}, intent.commit_id)


def _current(lake: Lakehouse, dataset: Dataset) -> Table:
    assert dataset.current_table is not None
    return lake.table(dataset.current_table)

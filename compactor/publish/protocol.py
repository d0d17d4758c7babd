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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from compactor.engines.base import Batch, Change, Engine
from compactor.engines.local import open_batch as local_batch
from compactor.errors import CompactorError, ConflictError, ShapeChanged
from compactor.lake import table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.lake.table import RUN_ID, DataFile, Table
from compactor.merge.history import HistoryPlan
from compactor.publish import ledger
from compactor.publish.intent import Note
from compactor.registry.dataset import Dataset

log = logging.getLogger(__name__)


@dataclass
class Published:
    """What became of a batch: new history rows per file_no, and the snapshots made, by table."""

    new: Mapping[int, int]
    snapshots: dict[str, int] = field(default_factory=dict)


def settled(lake: Lakehouse, dataset: Dataset, open_batch: Engine = local_batch) -> Table:
    """The dataset's history, loaded, with nothing unfinished in it. What a plan reads must be loaded after this.

    Raises ShapeChanged where the tables no longer have the dataset's shape.
    """
    while True:
        history = lake.table(dataset.history_table)
        table_version.check(dataset, history)
        note = Note.of(lake, history)
        if note is None:
            return history
        if note.mode == "migrate" and dataset.current_table:
            table_version.check(dataset, _current(lake, dataset))
        log.info("%s: finishing the batch of run %s", dataset.name, note.run_id)
        with open_batch(lake, dataset) as batch:
            _finish(lake, batch, dataset, history, note)


def publish(
    lake: Lakehouse,
    batch: Batch,
    dataset: Dataset,
    history: Table,
    planned: HistoryPlan,
    rewrite: Sequence[DataFile],
    *,
    run_id: str,
    replaces_entries: bool = False,
    open_batch: Engine = local_batch,
) -> Published:
    """Publishes a planned batch, with the ledger and quarantine rows in `ledger_rows` and `quarantine_rows`.

    Args:
        replaces_entries: the ledger's rows take the place of those that are there.
        open_batch: the engine that finishes batches that others have left unfinished.

    Raises:
        ConflictError: the history has changed since it was loaded. Nothing is visible; plan again.
        InvariantError: what was written is not what was planned. Nothing is visible.
    """
    published = Published(planned.new)
    con = batch.con
    quarantined = int(con.execute("SELECT count(*) FROM quarantine_rows").fetchall()[0][0])
    if not (planned.rows or quarantined or replaces_entries):
        # Duplicates alone. The ledger keeps the first word on an object, so this may be said late and twice.
        commit_id = uuid.uuid4().hex
        ledger.put(lake, con, FILES, "ledger_rows", ledger.OBJECT, existing="keep", commit_id=commit_id, run_id=run_id)
        return published
    note = Note.new(lake, run_id, "replace" if replaces_entries else "keep")
    note.write(con)
    try:
        change = batch.history_change(history, planned, rewrite)
        properties = {RUN_ID: run_id, **note.properties}
        published.snapshots[dataset.history_table] = commit(history, change, properties, note.commit_id)
    except ConflictError:
        note.delete()
        raise
    try:
        _follow(lake, batch, dataset, planned, note, open_batch)
    except ConflictError as error:
        raise CompactorError(
            f"{dataset.name}: other runs kept committing first; the batch is in the history, and the next run"
            " brings the other tables up to it: run again"
        ) from error
    if dataset.current_table:
        current = _current(lake, dataset).find(note.commit_id)
        published.snapshots.update({dataset.current_table: current.snapshot_id} if current else {})
    return published


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
    lake: Lakehouse, batch: Batch, dataset: Dataset, planned: HistoryPlan, note: Note, open_batch: Engine
) -> None:
    """Brings the other tables up to the history commit that has just landed."""
    if planned.replaced:
        # Stored records changed: order alone does not tell what that does to current state. Start from history.
        with suppress(ShapeChanged):  # nothing was unfinished any more when the tables were migrated
            settled(lake, dataset, open_batch)
        return
    if dataset.current_table and planned.rows:
        _merge_current(lake, batch, dataset, note)
    note.settle(batch.con)


def _finish(lake: Lakehouse, batch: Batch, dataset: Dataset, history: Table, note: Note) -> None:
    added, removed = history.changed_files(note.snapshot)
    if dataset.current_table and note.mode != "migrate":
        if removed:
            _derive_current(lake, batch, dataset, note)
        elif added:
            batch.take(history, note.snapshot)
            _merge_current(lake, batch, dataset, note)
    if note.read(batch.con):
        note.settle(batch.con)


def _merge_current(lake: Lakehouse, batch: Batch, dataset: Dataset, note: Note) -> None:
    """Brings the batch's rows into the current table, unless somebody else has finished the batch.

    Asked after the table was loaded, `note.exists` says that no later batch can have committed anything before that
    load; what one commits after it makes our commit a conflict.
    """
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            current = _current(lake, dataset)
            if not note.exists():
                return
            change = batch.current_change(current, lambda: lake.table(dataset.history_table))
            _commit_current(current, change, note)


def _derive_current(lake: Lakehouse, batch: Batch, dataset: Dataset, note: Note) -> None:
    """Derives the current rows of all keys in the history files that the batch changed anew. See `_merge_current`.

    History is loaded after the current table: it then has all that the current table can have seen, and a batch under
    way finds its rows in place.
    """
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            current = _current(lake, dataset)
            if not note.exists():
                return
            change = batch.derived_change(current, lake.table(dataset.history_table), note.snapshot)
            _commit_current(current, change, note)


def _commit_current(current: Table, change: Change | None, note: Note) -> None:
    if change:
        commit(current, change, {RUN_ID: note.run_id}, note.commit_id)


def _current(lake: Lakehouse, dataset: Dataset) -> Table:
    assert dataset.current_table is not None
    return lake.table(dataset.current_table)

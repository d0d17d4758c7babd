"""Puts right what `verify` finds wrong, as far as the tables themselves hold what that takes.

The plan says what the checks saw. To carry it out each step begins from a fresh load, and a step that finds nothing
wrong any more does nothing: what others have committed since the checks is never undone. Every change is one commit of
one table, bound to the version it was planned on; where two tables change, the history goes first, as a batch with a
note (see `publish`), which the next run completes if this one is killed. So it can be stopped anywhere and run again.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Iterable, Sequence

from compactor.commands.verify import differences
from compactor.commands.verify.differences import counts
from compactor.commands.verify.remedies import blocked
from compactor.commands.verify.verify import COUNTS, LINE, Finding, inspect
from compactor.config import Config
from compactor.duck import session
from compactor.duck.sql import quote
from compactor.engines.local import LocalBatch, plan_derived
from compactor.errors import CompactorError, ConflictError
from compactor.lake import file_inventory, table_changes
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.table import RUN_ID
from compactor.progress import NullProgress
from compactor.publish import ledger
from compactor.publish.intent import Note
from compactor.publish.protocol import commit, publish, settled
from compactor.publish.run_log import Run
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import Check, Repair, VerifyReport

log = logging.getLogger(__name__)


def repair(config: Config, registry: Registry, *, yes: bool) -> VerifyReport:
    """Makes all checks and plans what can be done about those that fail; with `yes` does it, and checks again.

    Raises CompactorError where the catalog or the storage of the tables failed, or other runs kept committing first.
    """
    lake = Lakehouse(config)
    findings = list(inspect(lake, registry, rebuild=True, files=True))
    plan = [(finding, each) for finding, each in _plan(findings) if each.possible]
    if not yes or not plan:
        return VerifyReport(_checks(findings), tuple(each for _, each in _plan(findings)))
    run_id = Run.begin("repair", lake, NullProgress()).run_id
    try:
        _carry_out(lake, registry, run_id, plan)
    except ConflictError as error:
        raise CompactorError(f"{error}, again and again; what was repaired stays, run again for the rest") from error
    findings = list(inspect(lake, registry, rebuild=True, files=True))
    left = [each for _, each in _plan(findings)]
    done = [dataclasses.replace(each, done=True) for _, each in plan if each not in left]
    return VerifyReport(_checks(findings), (*done, *left))


def _checks(findings: Iterable[Finding]) -> tuple[Check, ...]:
    return tuple(finding.check for finding in findings)


def _plan(findings: Sequence[Finding]) -> list[tuple[Finding, Repair]]:
    """All repairs; those of a dataset wait until the tables can be read that its batches go through."""
    unreadable = {finding.check.table for finding in findings if finding.blocks}
    planned = []
    for finding in findings:
        needed = {FILES, QUARANTINE}
        if finding.dataset:
            needed |= {finding.dataset.history_table, finding.dataset.current_table or FILES}
        in_the_way = sorted(needed & unreadable)
        for each in finding.repairs:
            waits = each.possible and in_the_way
            planned.append((finding, blocked(each, in_the_way[0]) if waits else each))
    return planned


def _carry_out(lake: Lakehouse, registry: Registry, run_id: str, plan: Sequence[tuple[Finding, Repair]]) -> None:
    if any(each.table == QUARANTINE for _, each in plan):
        _keep_one(lake, QUARANTINE, LINE, (), "quarantined_at DESC, run_id DESC", run_id)
    # Before the histories: whether these lack records is judged by the ledger's sums.
    if any(each.table == FILES for _, each in plan):
        _keep_one(lake, FILES, ledger.OBJECT, COUNTS, "loaded_at, run_id", run_id)
    for dataset in {finding.dataset.name: finding.dataset for finding, _ in plan if finding.dataset}.values():
        log.info("%s: repairing", dataset.name)
        lake.ensure(registry, [dataset.name])
        if dataset.current_table and file_inventory.take(lake.table(dataset.current_table)).lost:
            _derive(lake, dataset, run_id)  # first, because nothing else can be done with a table that cannot be read
        _keep_one_record(lake, dataset, run_id)
        if dataset.current_table:
            _derive(lake, dataset, run_id)
            _forget(lake, dataset.current_table)


def _keep_one(lake: Lakehouse, name: str, key: Sequence[str], agreeing: Sequence[str], order: str, run_id: str) -> None:
    """Leaves the first row in `order` of each key that stands several times in one of the program's own tables."""
    keys = ", ".join(map(quote, key))
    with session.session(lake.config.resources) as con:

        def plan() -> bool:
            # Loaded after the version that `put` commits on: if they are not the same, that commit is a conflict.
            table = lake.table(name)
            found = differences.find_twice(con, table, key, agreeing)
            paths = [file.file_path for file in found.files]
            con.register("rows", table.scan(table.schema.names, paths=paths).batches)
            con.execute(
                f"CREATE OR REPLACE TABLE kept AS SELECT DISTINCT ON ({keys}) * FROM rows"
                f" SEMI JOIN twice USING ({keys}) ORDER BY {keys}, {order}"
            )
            con.unregister("rows")
            return found.keys > 0

        ledger.put(lake, con, name, "kept", key, commit_id=uuid.uuid4().hex, run_id=run_id, needed=plan)


def _keep_one_record(lake: Lakehouse, dataset: Dataset, run_id: str) -> None:
    """Leaves one record of each id that stands several times in the history, and brings the current table up to it.

    This is a batch without lines, so that it is unfinished until the current table has followed.
    """
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt, session.session(lake.config.resources) as con:
            history = settled(lake, dataset)
            found = differences.find_twice(con, history, ["id"])
            if not found.keys:
                return
            planned = differences.plan_once(con, dataset, history, found)
            for name, rows in ((FILES, "ledger_rows"), (QUARANTINE, "quarantine_rows")):
                con.register("none", lake.table(name).schema.empty_table())
                con.execute(f"CREATE TABLE {rows} AS SELECT * FROM none")
                con.unregister("none")
            batch = LocalBatch(lake, con, dataset)
            publish(lake, batch, dataset, history, planned, found.files, run_id=run_id)


def _derive(lake: Lakehouse, dataset: Dataset, run_id: str) -> None:
    """Derives the rows of the keys that differ anew from history, and takes files out that are missing."""
    assert dataset.current_table is not None
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt, session.session(lake.config.resources) as con:
            # In this order. The history has all that the current table can have seen (see `local.plan_derived`). The
            # ledger has all of the history, unless a batch is unfinished: so a lack of records cannot go unnoticed.
            current = lake.table(dataset.current_table)
            history = lake.table(dataset.history_table)
            unfinished = Note.of(lake, history) is not None
            entries = lake.table(FILES).scan(["new"], where={"dataset": dataset.name})
            con.register("entries", entries.batches)
            (new,) = counts(con, "SELECT coalesce(sum(new), 0) FROM entries")
            lost = file_inventory.take(current).lost
            con.register("ids", history.scan(["id"]).batches)
            (ids,) = counts(con, "SELECT count(DISTINCT id) FROM ids")
            files = [file for file in current.files if file.file_path in lost]
            differences.compare(con, dataset, current, history, lost)
            differences.touch(con, dataset, history, spare=unfinished or ids < new)
            rewrite = plan_derived(con, dataset, current, history, lost)
            change = LocalBatch(lake, con, dataset).derived(current, history, rewrite, files)
            if change:
                commit(current, change, {RUN_ID: run_id}, uuid.uuid4().hex)


def _forget(lake: Lakehouse, name: str) -> None:
    """Takes older snapshots of a current table that refer to missing files out of its metadata."""
    for attempt in ledger.on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            if broken := file_inventory.take(table).broken:
                table_changes.forget_snapshots(table, broken)

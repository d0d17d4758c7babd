"""`verify --repair`: repairs what `verify` finds wrong, as far as the tables themselves have what that takes.

The plan says what the checks saw. To carry it out each step begins from a fresh load, and a step that finds nothing
wrong any more does nothing: what others have committed since the checks is never undone. Every change is one commit of
one table, bound to the version it was planned on. Where two tables change, the history goes first, as a batch with a
commit intent (see `publish`), which the next run completes if this one is killed. So a repair can be stopped anywhere
and run again.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from collections.abc import Iterable, Sequence

from compactor.commands.verify import differences, lost_tables
from compactor.commands.verify.finding import Finding
from compactor.commands.verify.ledger_checks import COUNTS, LINE
from compactor.commands.verify.remedies import blocked
from compactor.commands.verify.verify import inspect
from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number, quote
from compactor.engines.base import HistoryPlan
from compactor.engines.local import open_batch
from compactor.engines.rebuild import plan_derived
from compactor.errors import CompactorError, ConflictError, UnreadableError
from compactor.lake import file_inventory, table_changes, table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.retry import on_conflict
from compactor.lake.table import RUN_ID, Table
from compactor.progress import NullProgress
from compactor.publish import presence, upsert
from compactor.publish.accounting import Entries
from compactor.publish.intent import CommitIntent
from compactor.publish.protocol import commit, publish, settled
from compactor.publish.run_log import Run
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import Check, Repair, VerifyReport

log = logging.getLogger(__name__)

_BATCH_ROWS = 65_536


def repair(config: Config, registry: Registry, *, yes: bool) -> VerifyReport:
    """Runs all checks and plans what can be done about those that fail; with `yes` does it, and checks again.

    Raises CompactorError where the catalog or the storage of the tables failed, or other runs kept committing first.
    """
    lake = Lakehouse(config)
    lost = lost_tables.plan(config, lake, registry)
    restorable = [each for each in lost if each.repair.possible]
    if restorable and not yes:  # what else is wrong shows when these tables are back
        return VerifyReport(_checks(_inspect(lake, registry)), tuple(each.repair for each in lost))
    run = Run.begin("repair", lake, NullProgress())
    try:
        if restorable:
            lost_tables.carry_out(run, registry, restorable)
        findings = _inspect(lake, registry)
        loaded_again = [each.fault.dataset for each in restorable if each.is_reload]
        plan = [(found, each) for found, each in _plan(findings) if each.possible and found.dataset not in loaded_again]
        if yes and plan:
            damaged = frozenset(path for finding in findings for path in finding.damaged)
            carry_out(lake, registry, run.run_id, plan, damaged)
            findings = _inspect(lake, registry)
    except ConflictError as error:
        raise CompactorError(f"{error}; what was repaired before stays, run again for the rest") from error
    left = [each for _, each in _plan(findings)]
    if lost:
        left = [*(each.repair for each in lost_tables.plan(config, lake, registry)), *left]
    did = [*(each.repair for each in restorable), *(each for _, each in plan)] if yes else []
    done = [dataclasses.replace(each, done=True) for each in did if each not in left]
    return VerifyReport(_checks(findings), (*done, *left))


def _inspect(lake: Lakehouse, registry: Registry) -> list[Finding]:
    return list(inspect(lake, registry, rebuild=True, files=True, content=True))


def _checks(findings: Iterable[Finding]) -> tuple[Check, ...]:
    return tuple(finding.check for finding in findings)


def _plan(findings: Sequence[Finding]) -> list[tuple[Finding, Repair]]:
    """All repairs. Those of a dataset wait until all tables that its batches change can be read."""
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


def carry_out(
    lake: Lakehouse,
    registry: Registry,
    run_id: str,
    plan: Sequence[tuple[Finding, Repair]],
    damaged: frozenset[str] = frozenset(),
) -> None:
    """Does what is planned.

    Args:
        damaged: data files of current tables that were read and are not sound, by their paths in the metadata.
    """
    if any(each.table == QUARANTINE for _, each in plan):
        _keep_one(lake, QUARANTINE, LINE, (), "quarantined_at DESC, run_id DESC", run_id)
    # Before the histories: the ledger's sums decide whether these lack records.
    if any(each.table == FILES for _, each in plan):
        _keep_one(lake, FILES, upsert.OBJECT, COUNTS, "loaded_at, run_id", run_id)
    if any(each.table == RUNS for _, each in plan):
        _keep_one(lake, RUNS, upsert.RUN, (), "finished_at DESC", run_id)
    for dataset in {finding.dataset.name: finding.dataset for finding, _ in plan if finding.dataset}.values():
        log.info("%s: repairing", dataset.name)
        if dataset.current_table:
            _make_readable(lake, dataset.current_table)
        remade = [name for name in (dataset.current_table,) if name and not lake.exists(name)]
        lake.ensure(registry, [dataset.name], replaces=remade)
        if dataset.current_table and _lost(lake.table(dataset.current_table), damaged):
            # First, because nothing else can be done with a table that cannot be read.
            derive(lake, dataset, run_id, damaged)
        _keep_one_record(lake, dataset, run_id)
        if dataset.current_table:
            derive(lake, dataset, run_id)
            _forget(lake, dataset.current_table)
        if remade:
            presence.accept(lake, registry, run_id, remade)


def _make_readable(lake: Lakehouse, name: str) -> None:
    """Begins a current table anew of which the metadata is damaged, so that its rows can be derived.

    If this is stopped, the table is missing or has no rows, and the next repair derives them.
    """
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            try:
                table = lake.find(name)
            except UnreadableError:
                lake.drop(name)
                return
            found = file_inventory.take(table) if table else None
            if table and found and found.unreadable and not found.only_data_files:
                table_changes.empty(table, commit_id=uuid.uuid4().hex)


def _lost(current: Table, damaged: frozenset[str]) -> frozenset[str]:
    """The data files of a current table that cannot be read, or are not as they were written.

    Args:
        damaged: those that were found by reading them.
    """
    return file_inventory.take(current).lost | (damaged & {file.file_path for file in current.files})


def _keep_one(lake: Lakehouse, name: str, key: Sequence[str], agreeing: Sequence[str], order: str, run_id: str) -> None:
    """Keeps the first row in `order` of each key that has duplicates in one of the program's own tables."""
    with session.session(lake.config.resources) as con:

        def rows(relations: Relations, table: Table) -> Relation | None:
            kept = _first_of_duplicates(relations, table, key, agreeing, order)
            return kept if relations.count(kept) else None

        upsert.put(lake, con, name, key, rows, commit_id=uuid.uuid4().hex, run_id=run_id)


def _first_of_duplicates(
    relations: Relations, table: Table, key: Sequence[str], agreeing: Sequence[str], order: str
) -> Relation:
    """The first row in `order` of each key that has duplicates, with all columns of the table."""
    keys = ", ".join(map(quote, key))
    found = differences.find_duplicates(relations, table, key, agreeing)
    paths = [file.file_path for file in found.files]
    with relations.arrow("rows", table.scan(table.schema.names, paths=paths).batches) as rows:
        return relations.table(
            "kept",
            f"SELECT DISTINCT ON ({keys}) * FROM {rows} SEMI JOIN {found.keys} USING ({keys}) ORDER BY {keys}, {order}",
        )


def _keep_one_record(lake: Lakehouse, dataset: Dataset, run_id: str) -> None:
    """Keeps one record of each id that has duplicates in the history, and brings the current table up to it.

    This is a batch without lines, so that it is unfinished until the current table has followed.
    """
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt, open_batch(lake, dataset) as batch:
            relations, history = batch.relations, settled(lake, dataset, open_batch)
            found = differences.find_duplicates(relations, history, ["id"])
            if not found.count:
                return
            winning = differences.winning_copies(relations, dataset, history, found)
            plan = HistoryPlan(
                fresh=batch.adopt(relations.stream(f"SELECT * FROM {winning}", _BATCH_ROWS)),
                new={},
                replaced=found.count,
                replaced_ids=found.keys,
                surplus=found.surplus,
                rewrite=found.files,
            )
            none = [relations.stored("none", lake.table(name).schema.empty_table()) for name in (FILES, QUARANTINE)]
            publish(lake, batch, dataset, history, plan, Entries(*none), run_id=run_id, open_batch=open_batch)


def derive(lake: Lakehouse, dataset: Dataset, run_id: str, damaged: frozenset[str] = frozenset()) -> None:
    """Derives the rows of the keys that differ from history again, and takes missing files out of the table.

    Args:
        damaged: data files that are taken out too, where the table still has them.
    """
    assert dataset.current_table is not None
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt, open_batch(lake, dataset) as batch:
            relations = batch.relations
            # In this order. The history has all that the current table can have seen (see `plan_derived`). The
            # ledger has all of the history, unless a batch is unfinished: so a lack of records cannot go unnoticed.
            current = lake.table(dataset.current_table)
            history = lake.table(dataset.history_table)
            table_version.check(dataset, history)
            spare = CommitIntent.of(lake, history) is not None or _lacks_records(relations, lake, dataset, history)
            lost = _lost(current, damaged)
            compared = differences.compare(relations, dataset, current, history, lost)
            derived = differences.keys_to_derive(relations, dataset, history, compared, spare=spare)
            plan = plan_derived(relations, dataset, derived.keys, current, history, lost)
            files = [file for file in current.files if file.file_path in lost]
            change = batch.derived(current, history, plan, files)
            if change:
                commit(current, change, {RUN_ID: run_id}, uuid.uuid4().hex)


def _lacks_records(relations: Relations, lake: Lakehouse, dataset: Dataset, history: Table) -> bool:
    """Whether the ledger, loaded after the history, counts more records than the history has."""
    entries = lake.table(FILES).scan(["new"], where={"dataset": dataset.name})
    with relations.arrow("entries", entries.batches) as rows:
        new = number(relations.con, f"SELECT sum(new) FROM {rows}")
    with relations.arrow("ids", history.scan(["id"]).batches) as rows:
        return number(relations.con, f"SELECT count(DISTINCT id) FROM {rows}") < new


def _forget(lake: Lakehouse, name: str) -> None:
    """Takes older snapshots of a current table that refer to missing files out of its metadata."""
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            if broken := file_inventory.take(table).broken:
                table_changes.forget_snapshots(table, broken)

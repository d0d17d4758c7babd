"""Checks that each table is as the last run left it, and plans how one that is not is put back.

These checks come first: a table that is gone, or an older copy, lets the other checks fail for what is missing with it.
A table is put back by its newest metadata file, if all files that it needs are there. Otherwise its rows come from what
is left: the current rows from the history, the history from the source, the ledger's counts from the histories.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from compactor.commands.verify import reloading
from compactor.commands.verify.finding import Finding
from compactor.config import Config
from compactor.errors import SourceError
from compactor.lake import remains
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.table import Table
from compactor.publish import presence
from compactor.publish.presence import Fault
from compactor.publish.run_log import Run
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import Check, Repair

GONE, CHANGED = "the table is there", "the table is as its last run left it"


@dataclass(frozen=True)
class Restoring:
    """How a lost table is put back.

    Attributes:
        repair: in words.
        carry_out: does it; None where only the operator can.
        is_reload: the next run has to load the dataset again.
    """

    fault: Fault
    repair: Repair
    carry_out: Callable[[Run], None] | None = None
    is_reload: bool = False


def check(lake: Lakehouse, registry: Registry) -> list[Finding]:
    """One failed check for each lost table, without what can be done about it; else one that holds for all."""
    found = _faults(lake, registry)
    if not found:
        return [Finding(Check("each table is as its last run left it", FILES, ok=True))]
    return [_finding(each) for each in found]


def _finding(fault: Fault) -> Finding:
    gone = fault.kind in ("gone", "unreadable")
    check = Check(GONE if gone else CHANGED, fault.table, ok=False, detail=f"{fault.wrong}; {fault.step}")
    return Finding(check, (), fault.dataset, blocks=gone)


def plan(config: Config, lake: Lakehouse, registry: Registry) -> list[Restoring]:
    """How each lost table is put back, in the order in which that is done: the program's own tables first."""
    found = _faults(lake, registry)
    return [_plan(config, lake, registry, each) for each in found]


def carry_out(run: Run, registry: Registry, planned: list[Restoring]) -> None:
    """Does what is planned. What is stopped half-way is found again, and planned again."""
    steps = [each for each in planned if each.carry_out]
    for each in steps:
        assert each.carry_out
        each.carry_out(run)
    presence.accept(run.lake, registry, run.run_id, tables=[each.fault.table for each in steps])


def _faults(lake: Lakehouse, registry: Registry) -> list[Fault]:
    """The lost tables, without those that other checks find and repair as well."""
    found = []
    for each in presence.faults(lake, registry, by_files=True):
        dataset = each.dataset
        is_current = dataset is not None and each.table == dataset.current_table
        if each.kind == "gone" and is_current and dataset and lake.exists(dataset.history_table):
            continue  # it is derived from the history
        if each.kind == "unreadable" and _newest(lake, each.table) is None:
            continue  # the check of its files says what to restore
        found.append(each)
    return found


def _newest(lake: Lakehouse, name: str) -> Table | None:
    marked = remains.marks_of(lake)
    return remains.newest(lake, name, marked.tables.get(name) if marked else None)


def _plan(config: Config, lake: Lakehouse, registry: Registry, fault: Fault) -> Restoring:
    name, wrong = fault.table, fault.wrong
    if fault.kind == "gone" and (other := remains.renamed(lake, name)):
        action = f"rename {lake.namespace}.{other} to {name}"
        return Restoring(fault, Repair(name, wrong, action), lambda _: remains.rename(lake, other, name))
    newest = _newest(lake, name)
    if newest is not None:
        rows = sum(file.record_count for file in newest.files)
        instead = "" if fault.kind == "gone" else ", in place of what it names now"
        action = f"let the catalog name the newest metadata file{instead}, {newest.metadata_location}: {rows} rows"
        return Restoring(fault, Repair(name, wrong, action), lambda _: remains.register(lake, newest))
    if fault.dataset is None:
        return _plan_own(config, lake, registry, fault)
    if name == fault.dataset.current_table:
        action = f"{'make it again' if fault.kind == 'gone' else 'leave it as it is'}, and derive its rows from history"
        return Restoring(fault, Repair(name, wrong, action), lambda _: _derivable(lake, registry, fault.dataset, name))
    return _plan_reload(config, lake, registry, fault, fault.dataset)


def _derivable(lake: Lakehouse, registry: Registry, dataset: Dataset | None, name: str) -> None:
    """The table is there, so that the check of the current rows finds what it lacks."""
    assert dataset is not None
    lake.ensure(registry, [dataset.name], replaces={name, dataset.history_table})


def _plan_own(config: Config, lake: Lakehouse, registry: Registry, fault: Fault) -> Restoring:
    """For one of the program's own tables of which no metadata file is left."""
    name, made = fault.table, "make it again, empty" if fault.kind == "gone" else "leave it as it is"
    step: Callable[[Run], None]
    if name == FILES:
        action = (
            f"{made}, and count its objects again from the histories and the quarantine; the next `compactor compact`"
            " reads all objects of the source once more, which adds no row and makes the counts whole"
        )
        step = partial(reloading.recount_all, config=config, registry=registry)
    elif name == QUARANTINE:
        action = (
            f"{made}; the next `compactor compact` reads the objects again that had rejected lines. Those that are gone"
            " from the source keep their counts, and the text of their rejected lines is lost"
        )
        step = partial(reloading.requarantine, config=config, registry=registry)
    else:
        action = f"{made}; what it had is lost, no record is; the next `compactor compact` lists all objects"
        step = reloading.nothing

    def carry_out(run: Run) -> None:
        lake.ensure_own(replaces={name})
        step(run)

    return Restoring(fault, Repair(name, fault.wrong, action), carry_out)


def _plan_reload(config: Config, lake: Lakehouse, registry: Registry, fault: Fault, dataset: Dataset) -> Restoring:
    """For a history of which no metadata file is left: the source has its records, or nobody."""
    name = fault.table
    restore = "restore its files from the bucket's versions or a backup"
    try:
        objects, lost, new = reloading.lost_objects(config, lake, dataset)
    except SourceError as error:
        action = f"make the source readable, or {restore}; then run `compactor verify --repair` again"
        return Restoring(fault, Repair(name, f"{fault.wrong}; {error}", action, possible=False))
    if lost:
        wrong = f"{fault.wrong}; {lost} of its {objects} objects, with {new} new records, are no longer in the source"
        action = (
            f"{restore}; or, to load what is left, delete the rows of these objects from {FILES} with any engine"
            f" (`where dataset = '{dataset.name}'`, by `key`), then run `compactor verify --repair` again"
        )
        return Restoring(fault, Repair(name, wrong, action, possible=False))
    made = "make it again, empty" if fault.kind == "gone" else "leave it as it is"
    action = f"{made}, and let the next `compactor compact` load all {objects} objects of {dataset.name} again"
    step = partial(reloading.reload, config=config, registry=registry, dataset=dataset)
    return Restoring(fault, Repair(name, fault.wrong, action), step, is_reload=True)

"""Whether the tables that a run is to change are those that the runs before have left, with all that these committed.

A table can be gone from the catalog, it can be another one that somebody made under its name, and the catalog can have
an older copy of it, or be an older copy as a whole. Each looks sound by itself, and a run would build on it in silence.
See `compactor.lake.marks` and `compactor.lake.remains` for how it is noticed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from compactor.errors import CompactorError, LostTableError, UnreadableError
from compactor.lake import marks, remains
from compactor.lake.catalog import Lakehouse
from compactor.lake.marks import Mark, Marks
from compactor.lake.own_tables import FILES, OWN_TABLES
from compactor.lake.table import COMMIT_ID, RUN_ID, Table, summary
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import Problem

log = logging.getLogger(__name__)

Kind = Literal["gone", "unreadable", "another", "older"]


@dataclass(frozen=True)
class Fault:
    """A table that is not as the runs before have left it.

    Attributes:
        table: its name.
        dataset: whose table it is; None for the program's own.
        wrong, step: what is wrong and the next step, as in `Problem`.
    """

    table: str
    kind: Kind
    wrong: str
    step: str
    dataset: Dataset | None = None


def check_own(lake: Lakehouse, registry: Registry) -> Marks | None:
    """Checks the program's own tables. Called before any table is made. Returns the marks of the lake.

    Raises LostTableError for the first that is lost: no dataset can be loaded without them.
    """
    with lake.looking():
        marked = remains.marks_of(lake)
        is_accepted = _raise(_own_faults(lake, registry, marked), lake, registry)
        return remains.marks_of(lake) if is_accepted else marked


def check(lake: Lakehouse, registry: Registry, dataset: Dataset, marked: Marks | None = None) -> None:
    """Checks the tables of a dataset. Called before any of them is made. Raises LostTableError for the first lost.

    Args:
        marked: the marks as they were read before, in the same run: no table can be older than these. None: they are
            read now.
    """
    with lake.looking():
        found = list(_dataset_faults(lake, dataset, marked or remains.marks_of(lake)))
        if found:
            lake.at_table_version(dataset)  # a registry that the other table does not fit is the better reason
        _raise(found, lake, registry)


def problems(lake: Lakehouse, registry: Registry) -> tuple[Problem, ...]:
    """The lost tables of a lake, as problems that fail. Changes nothing."""
    with lake.looking():
        found = [each for each in faults(lake, registry) if each.kind != "unreadable"]
        if found and (marked := remains.marks_of(lake)) and is_within_last_run(lake, marked):
            wrong = f"the catalog is as it was in the middle of run {marked.run_id}, as after a restore"
            step = "`compactor verify --repair` brings back what that run has done, or the next `compact` does it again"
            return (Problem(lake.config.catalog.name, wrong, step),)
    return tuple(Problem(each.table, each.wrong, each.step, fails=True) for each in found)


def record(lake: Lakehouse, datasets: Iterable[Dataset], run_id: str) -> None:
    """Writes the marks of the tables of these datasets and of the program's own, at the end of a run.

    A table that is lost keeps its mark, so that it stays lost until somebody decides about it. What fails is logged:
    the older marks, or none, are only less exact.
    """
    try:
        ledger = lake.seen(FILES)
        if ledger is None:
            return
        before = remains.marks_of(lake) or Marks(run_id, {})
        known = dict(before.tables)
        for table in _present(lake, datasets, seen=True):  # an older mark is right as well
            now = Mark.of(table)
            if table.name not in known or known[table.name].is_reached_by(now):
                known[table.name] = now
        marks.write(ledger, Marks(run_id, known, tuple(name for name in before.unmade if name not in known)))
    except CompactorError as error:
        log.warning("the marks of the tables stay as they were: %s", error)


def accept(lake: Lakehouse, registry: Registry, run_id: str, tables: Collection[str]) -> None:
    """Writes the marks of these tables anew: from now on they count as they are. One that is gone can be made again."""
    before = remains.marks_of(lake) or Marks(run_id, {})
    now = {table.name: Mark.of(table) for table in _present(lake, registry.datasets.values()) if table.name in tables}
    kept = {name: mark for name, mark in before.tables.items() if name not in tables}
    marks.write(lake.table(FILES), Marks(run_id, kept | now, tuple(sorted(set(tables) - now.keys()))))


def faults(lake: Lakehouse, registry: Registry, *, by_files: bool = False) -> Iterator[Fault]:
    """The lost tables of a lake, the program's own first.

    Args:
        by_files: also look for older copies by the metadata files of each table: on a lake that has no marks yet, and
            after commits of other engines. Lists the metadata folder of these tables.
    """
    marked = remains.marks_of(lake)  # before the tables are loaded: see `check`
    found = [*_own_faults(lake, registry, marked)]
    for name in sorted(registry.datasets):
        found += _dataset_faults(lake, registry.datasets[name], marked)
    yield from found
    if by_files:
        lost = {each.table for each in found}
        yield from (each for each in _older_by_files(lake, registry) if each.table not in lost)


def _older_by_files(lake: Lakehouse, registry: Registry) -> Iterator[Fault]:
    marked = remains.marks_of(lake)
    owners = {name: dataset for dataset in registry.datasets.values() for name in dataset.tables}
    for table in _present(lake, registry.datasets.values()):
        mark = marked.tables.get(table.name) if marked else None
        # What the last run left is right, whatever lies beside it: an older state can have been kept on purpose.
        if (mark is None or mark.metadata != Mark.of(table).metadata) and remains.is_older_copy(lake, table):
            wrong = "the catalog has an older copy of it: its metadata files show later commits"
            yield Fault(table.name, "older", wrong, remains.REPAIR, owners.get(table.name))


def _own_faults(lake: Lakehouse, registry: Registry, marked: Marks | None) -> Iterator[Fault]:
    everywhere = [name for dataset in registry.datasets.values() for name in dataset.tables]
    for name in OWN_TABLES:
        first = name in remains.FIRST_OWN
        made_with = [*(each for each in remains.FIRST_OWN if each != name), *everywhere] if first else []
        yield from _fault(lake, name, marked, None, made_with)


def _dataset_faults(lake: Lakehouse, dataset: Dataset, marked: Marks | None) -> Iterator[Fault]:
    for name in dataset.tables:
        yield from _fault(lake, name, marked, dataset, [each for each in dataset.tables if each != name])


def _fault(
    lake: Lakehouse, name: str, marked: Marks | None, dataset: Dataset | None, made_with: Sequence[str]
) -> Iterator[Fault]:
    try:
        table = lake.find(name)
    except UnreadableError as error:
        wrong = f"{error.path} {error.why}"
        yield Fault(name, "unreadable", wrong, f"restore the file, or the catalog; {remains.REPAIR}", dataset)
        return
    if table is None:
        trace = remains.trace_of(lake, name, dataset=dataset.name if dataset else None, made_with=made_with)
        if trace and not lake.exists(name):  # see `remains.refuse_if_gone`
            yield Fault(name, "gone", *remains.gone(lake, name, trace), dataset)
        return
    mark, now = marked.tables.get(name) if marked else None, Mark.of(table)
    if mark is None or marked is None:
        if remade := _is_made_again(lake, table, dataset, made_with):
            yield Fault(name, "another", remade, f"put the right one back; {remains.REPAIR}", dataset)
    elif not mark.is_same_table(now):
        wrong = f"it is another table than the one that run {marked.run_id} left: somebody has made it again"
        yield Fault(name, "another", wrong, f"put the right one back; {remains.REPAIR}", dataset)
    elif not mark.is_reached_by(now):
        wrong = (
            f"the catalog has an older copy of it, with its commits up to number {now.sequence}, where run"
            f" {marked.run_id} left {mark.sequence}"
        )
        place = marks.path(lake.table(FILES).location)
        step = f"{remains.REPAIR}; to keep the older state on purpose, delete {place}, then run again"
        yield Fault(name, "older", wrong, step, dataset)


def _is_made_again(lake: Lakehouse, table: Table, dataset: Dataset | None, made_with: Sequence[str]) -> str | None:
    """Whether a table without rows should have some, for a lake that has no marks yet."""
    if table.snapshot_id is not None:
        return None
    if dataset and table.name == dataset.history_table and remains.has_objects(lake, dataset.name):
        return f"it is empty, but the ledger has objects of {dataset.name}: somebody has made it again"
    if table.name == FILES:
        for other in map(lake.find, made_with):
            # A first batch that was stopped leaves one commit and an empty ledger.
            if other is not None and sum(COMMIT_ID in summary(each) for each in other.history()) > 1:
                return f"it is empty, but {other.name} has rows: somebody has made it again"
    return None


def _raise(found: Iterable[Fault], lake: Lakehouse, registry: Registry) -> bool:
    """Whether the marks were written anew, because the catalog is as it was within the last run."""
    # A file that cannot be read is reported where it is read.
    first = next((each for each in found if each.kind != "unreadable"), None)
    if first is None:
        return False
    marked = remains.marks_of(lake)
    if first.kind in ("older", "gone") and marked and is_within_last_run(lake, marked):
        log.warning(
            "the catalog is as it was in the middle of run %s, as after a restore: what that run did later is done"
            " again; objects outside of the window need `compactor compact --full-scan`",
            marked.run_id,
        )
        accept(lake, registry, marked.run_id, marked.tables.keys())
        return True
    raise LostTableError(first.table, first.wrong, first.step)


def is_within_last_run(lake: Lakehouse, marked: Marks) -> bool:
    """Whether the catalog is as it was at some time within the last run: as if that run had been killed then.

    So a part of the run's commits is in place, and none that came after one that is not. A backup of the catalog that
    was taken during a run looks so. An older copy of one table does not, nor does a catalog that lacks a whole run.
    """
    present: list[int] = []
    missing: list[int] = []
    has_run = False
    for name, mark in marked.tables.items():
        try:
            table = lake.find(name)
        except UnreadableError:
            return False
        if table is None and name in OWN_TABLES:
            return False  # these are made before anything is committed
        reached = Mark.of(table).sequence if table is not None else 0
        newest = table if reached >= mark.sequence else remains.newest(lake, name, mark)
        if newest is None:
            if mark.sequence:
                return False
            continue
        if not mark.is_reached_by(Mark.of(newest)):
            return False
        for snapshot in newest.snapshots:
            (present if (snapshot.sequence_number or 0) <= reached else missing).append(snapshot.timestamp_ms)
        has_run = has_run or any(
            summary(each).get(RUN_ID) == marked.run_id for each in (table.snapshots if table else ())
        )
    return has_run and max(present, default=0) <= min(missing, default=0)


def _present(lake: Lakehouse, datasets: Iterable[Dataset], *, seen: bool = False) -> Iterator[Table]:
    find = lake.seen if seen else lake.find
    names = [*OWN_TABLES, *(name for dataset in datasets for name in dataset.tables)]
    for name in names:
        try:
            table = find(name)
        except UnreadableError:
            continue
        if table is not None:
            yield table

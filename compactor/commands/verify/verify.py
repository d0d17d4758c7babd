"""`verify`: each row once, all sums right, current state as history says.

Each check comes with what can be done where it fails (see `remedies`). A table with a file that is missing or damaged
fails the checks that need it, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from compactor.commands.verify import finding, ledger_checks, lost_tables
from compactor.commands.verify.dataset_checks import check_dataset
from compactor.commands.verify.file_checks import check_table
from compactor.commands.verify.finding import Finding, Outcome
from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.errors import CompactorError, UnreadableError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, OWN_TABLES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import Check, VerifyReport


def verify(
    config: Config, registry: Registry, *, rebuild: bool, files: bool = False, content: bool = False
) -> VerifyReport:
    """Runs all checks. Nothing is changed.

    Args:
        rebuild: also derive current state from history and compare it row by row.
        files: also look for files that tables refer to and that are missing or damaged, and for files that no table
            refers to.
        content: also read all data files, and compare them with what was written into them.

    Raises CompactorError where the catalog or the storage cannot be read.
    """
    found = inspect(Lakehouse(config), registry, rebuild=rebuild, files=files, content=content)
    return VerifyReport(tuple(each.check for each in found))


def inspect(lake: Lakehouse, registry: Registry, *, rebuild: bool, files: bool, content: bool) -> Iterator[Finding]:
    """The checks of `verify`, one after the other, each with what can be done where it fails."""
    datasets = [registry.datasets[name] for name in sorted(registry.datasets)]
    lost = lost_tables.check(lake, registry)
    yield from lost
    gone = {each.check.table for each in lost if each.blocks}
    if not gone and not lake.exists(FILES):
        lake.table(FILES)  # says that there is nothing to check yet
    of_files: list[Finding] = []
    if files or content:
        owners = {name: each for each in datasets for name in each.tables}
        for name in (*sorted(owners), *OWN_TABLES):
            if lake.exists(name):
                of_files += check_table(lake, name, owners.get(name), files=files, content=content)
    damaged = frozenset(path for each in of_files for path in each.damaged)
    if FILES not in gone:
        yield from _ledger(lake)
    if QUARANTINE not in gone:
        yield from _own_table(lake, QUARANTINE, "each rejected line once", ledger_checks.each_rejected_line_once)
    if lake.exists(RUNS):
        yield from _own_table(lake, RUNS, "each run once", ledger_checks.each_run_once)
    for dataset in datasets:
        if lake.exists(dataset.history_table):
            yield from _dataset(lake, dataset, rebuild=rebuild, damaged=damaged)
    yield from of_files


def _ledger(lake: Lakehouse) -> Iterator[Finding]:
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        objects = finding.run(
            lake,
            "each object once",
            FILES,
            (FILES,),
            lambda name: ledger_checks.each_object_once(relations, lake.table(FILES), name),
        )
        yield objects.finding
        if objects.value:
            yield ledger_checks.sums_hold(relations, objects.value)


def _own_table(
    lake: Lakehouse, table: str, name: str, check: Callable[[Relations, Table, str], Outcome[None]]
) -> Iterator[Finding]:
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        yield finding.run(lake, name, table, (table,), lambda name: check(relations, lake.table(table), name)).finding


def _dataset(lake: Lakehouse, listed: Dataset, *, rebuild: bool, damaged: frozenset[str]) -> Iterator[Finding]:
    try:
        dataset = lake.at_table_version(listed)
    except UnreadableError:
        dataset = listed  # the checks report what is missing or damaged
    except CompactorError as error:
        yield Finding(Check("one table version", listed.history_table, ok=False, detail=str(error)))
        return
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        yield from check_dataset(lake, relations, dataset, rebuild=rebuild, damaged=damaged)

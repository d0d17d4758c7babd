"""The checks of one dataset: its history, its current table, and their sums in the ledger and the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from compactor.commands.verify import differences, finding, remedies, sums
from compactor.commands.verify.differences import Comparison, counts
from compactor.commands.verify.finding import Finding, Outcome
from compactor.commands.verify.sums import HistoryCounts
from compactor.commands.verify.tables import Tables
from compactor.duck.relations import Relations
from compactor.duck.sql import number, quote
from compactor.engines.rebuild import plan_derived
from compactor.errors import UnreadableError
from compactor.lake import file_inventory, file_reading
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.merge.columns import columns_for_current
from compactor.merge.current import current_ids
from compactor.publish.intent import CommitIntent
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair

T = TypeVar("T")


def check_dataset(
    lake: Lakehouse, relations: Relations, dataset: Dataset, *, rebuild: bool, damaged: frozenset[str] = frozenset()
) -> Iterator[Finding]:
    """All checks of one dataset.

    Args:
        rebuild: also derive current state from history and compare it row by row.
        damaged: data files of the current table that are known not to be sound, by their paths in the metadata.
    """
    tables = Tables.load(lake, dataset, damaged)
    history, current = dataset.history_table, dataset.current_table

    def run(name: str, table: str, needs: Sequence[str], check: Callable[[str], Outcome[T]]) -> Outcome[T]:
        return finding.run(lake, name, table, needs, check, dataset)

    settled = run("nothing unfinished", history, (history, FILES), partial(nothing_unfinished, tables, relations))
    yield settled.finding
    unfinished = bool(settled.value)

    once = run("each record once", history, (history,), partial(each_record_once, tables, relations))
    yield once.finding

    summed = run(
        "rows = new lines of the ledger",
        history,
        (history, FILES),
        lambda name: sums.history_has_new_lines(tables, relations, once.known, name, unfinished=unfinished),
    )
    yield summed.finding
    lacks_records = summed.value is None or summed.value  # until it is shown that it does not

    yield run(
        "rows = quarantined lines of the ledger",
        QUARANTINE,
        (QUARANTINE, FILES),
        lambda name: sums.quarantine_has_its_lines(tables, relations, name, unfinished=unfinished),
    ).finding

    if lake.exists(RUNS):
        runs = partial(sums.runs_have_their_objects, tables, relations)
        yield run("each run = its objects", RUNS, (RUNS, FILES), runs).finding

    if current and current not in tables.loaded and not lake.exists(current):
        yield run("the table exists", current, (history,), partial(current_is_missing, tables, relations)).finding
    elif current:
        yield run("each key once", current, (current,), partial(each_key_once, tables, relations)).finding
        if rebuild:
            yield run(
                "current = what history says",
                current,
                (current, history),
                lambda name: current_follows_history(
                    tables, relations, name, unfinished=unfinished, lacks_records=lacks_records
                ),
            ).finding


def nothing_unfinished(tables: Tables, relations: Relations, name: str) -> Outcome[bool]:
    """Learns whether the last batch is unfinished."""
    history = tables.history
    intent = CommitIntent.of(tables.lake, history)
    if intent is None:
        return Outcome(Finding(Check(name, history.name, ok=True, detail="the last batch is finished")), value=False)
    try:
        intent.read(relations)
    except UnreadableError as error:
        detail = f"the last batch is unfinished, and {error.path} {error.why}"
        repairs = (remedies.damaged_intent(tables.dataset, error.path, error.why),)
        return Outcome(Finding(Check(name, history.name, ok=False, detail=detail), repairs, blocks=True), value=True)
    check = Check(name, history.name, ok=False, detail="the last batch is unfinished; run `compactor compact`")
    return Outcome(Finding(check, (remedies.settle(tables.dataset),)), value=True)


def each_record_once(tables: Tables, relations: Relations, name: str) -> Outcome[HistoryCounts]:
    """Learns how many rows and ids the history has."""
    history = tables.history
    with relations.arrow("ids", history.scan(["id"]).batches) as rows:
        found = HistoryCounts(*counts(relations.con, f"SELECT count(*), count(DISTINCT id) FROM {rows}"))
    repairs: tuple[Repair, ...] = ()
    if found.rows != found.ids:
        duplicates = differences.find_duplicates(relations, history, ["id"])
        repairs = (remedies.keep_one(history.name, "ids", duplicates, "the earliest record"),)
    check = Check(name, history.name, found.rows == found.ids, f"{found.rows} rows, {found.ids} ids")
    return Outcome(Finding(check, repairs), found)


def each_key_once(tables: Tables, relations: Relations, name: str) -> Outcome[None]:
    current, key = tables.current, tables.dataset.key
    keys = ", ".join(map(quote, key))
    with relations.arrow("keys", current.scan(key).batches) as found:
        rows, distinct = counts(relations.con, f"SELECT count(*), count(DISTINCT ({keys})) FROM {found}")
    return Outcome(Finding(Check(name, current.name, rows == distinct, f"{rows} rows, {distinct} keys")))


def current_follows_history(
    tables: Tables, relations: Relations, name: str, *, unfinished: bool, lacks_records: bool
) -> Outcome[None]:
    """Derives current state from history and compares it row by row."""
    current, history, dataset = tables.current, tables.history, tables.dataset
    lost = tables.damaged & {file.file_path for file in current.files}
    try:
        compared = differences.compare(relations, dataset, current, history, lost)
    except Exception:
        lost |= _lost_files(current)
        if not lost:
            raise
        compared = differences.compare(relations, dataset, current, history, lost)
    several = f"; {len(lost)} data files are missing or damaged, such as {min(lost)}" if lost else ""
    detail = f"{compared.difference}{several}"
    check = Check(name, current.name, compared.difference.is_none and not lost, detail)
    if check.ok:
        return Outcome(Finding(check))
    spare = lacks_records or unfinished
    repairs = _derivation(tables, relations, compared, lost, spare=spare, lacks_records=lacks_records)
    return Outcome(Finding(check, repairs))


def _lost_files(current: Table) -> frozenset[str]:
    """The data files that cannot be read, where the others can. Raises where the storage failed."""
    found = file_inventory.take(current)
    if found.unreadable and not found.only_data_files:
        return frozenset()
    return found.lost or frozenset(
        file.file_path for file in current.files if file_reading.wrong_with(current, file, None)
    )


def _derivation(
    tables: Tables,
    relations: Relations,
    compared: Comparison,
    lost: frozenset[str],
    *,
    spare: bool,
    lacks_records: bool,
) -> tuple[Repair, ...]:
    """What deriving the keys that differ again would write, and what cannot be derived."""
    current, history, dataset = tables.current, tables.history, tables.dataset
    derived = differences.keys_to_derive(relations, dataset, history, compared, spare=spare)
    plan = plan_derived(relations, dataset, derived.keys, current, history, lost)
    rows = sum(file.record_count for file in plan.rewrite) + plan.decision.rows - plan.decision.dropped
    repairs: tuple[Repair, ...] = ()
    if derived.spared and lacks_records:
        repairs = (remedies.spared(dataset, derived.spared),)
    if derived.count or lost:
        derive = remedies.derive(
            current.name,
            compared.difference,
            keys=derived.count,
            lost=len(lost),
            rows=rows,
            files=len(plan.rewrite) + len(lost),
        )
        repairs = (derive, *repairs)
    return repairs


def current_is_missing(tables: Tables, relations: Relations, name: str) -> Outcome[None]:
    """For a current table that does not exist."""
    dataset = tables.dataset
    with relations.arrow("past", tables.history.scan(columns_for_current(dataset)).batches) as past:
        keys = number(relations.con, f"SELECT count(*) FROM ({current_ids(dataset, past)})")
    check = Check(name, dataset.current_table or "", ok=False, detail=f"{keys} keys are expected")
    return Outcome(Finding(check, (remedies.create(dataset, keys=keys),)))

"""The checks of one dataset: its history, its current table, and their sums in the ledger and the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

from compactor.commands.verify import differences, finding, remedies
from compactor.commands.verify.differences import Comparison, counts
from compactor.commands.verify.finding import Finding, Outcome
from compactor.commands.verify.ledger_checks import LINE
from compactor.duck.relations import Relations
from compactor.duck.sql import number, quote
from compactor.engines.rebuild import plan_derived
from compactor.errors import MissingTableError, UnreadableError
from compactor.lake import file_inventory
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.table import Table
from compactor.merge.columns import columns_for_current
from compactor.merge.current import current_ids
from compactor.publish import upsert
from compactor.publish.intent import CommitIntent
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair

T = TypeVar("T")


@dataclass(frozen=True)
class Tables:
    """The tables of one dataset, and the program's own. All checks see the same versions of them.

    The current table is loaded first, because a history that is loaded later has all that it can have seen. A table
    that cannot be loaded now is loaded again, and fails again, in the checks that need it.
    """

    lake: Lakehouse
    dataset: Dataset
    loaded: Mapping[str, Table] = field(default_factory=dict)

    @classmethod
    def load(cls, lake: Lakehouse, dataset: Dataset) -> Tables:
        loaded = {}
        for name in filter(None, (dataset.current_table, dataset.history_table, FILES, QUARANTINE)):
            with suppress(UnreadableError, MissingTableError):
                loaded[name] = lake.table(name)
        return cls(lake, dataset, loaded)

    def table(self, name: str) -> Table:
        return self.loaded.get(name) or self.lake.table(name)

    @property
    def history(self) -> Table:
        return self.table(self.dataset.history_table)

    @property
    def current(self) -> Table:
        assert self.dataset.current_table is not None
        return self.table(self.dataset.current_table)


@dataclass(frozen=True)
class HistoryCounts:
    """The rows of a history, and their different ids."""

    rows: int
    ids: int


@dataclass(frozen=True)
class Sums:
    """Sums over the ledger's objects. An object that has several rows counts with each, its least or its greatest.

    If its rows disagree, any of them can be the right one.
    """

    total: int
    least: int
    most: int


def check_dataset(lake: Lakehouse, relations: Relations, dataset: Dataset, *, rebuild: bool) -> Iterator[Finding]:
    """All checks of one dataset. `rebuild`: also derive current state from history and compare it row by row."""
    tables = Tables.load(lake, dataset)
    history, current = dataset.history_table, dataset.current_table

    def run(name: str, table: str, needs: Sequence[str], check: Callable[[str], Outcome[T]]) -> Outcome[T]:
        return finding.run(lake, name, table, needs, check, dataset)

    settled = run("nothing unfinished", history, (history, FILES), partial(nothing_unfinished, tables))
    yield settled.finding
    unfinished = bool(settled.value)

    once = run("each record once", history, (history,), partial(each_record_once, tables, relations))
    yield once.finding

    summed = run(
        "rows = new lines of the ledger",
        history,
        (history, FILES),
        lambda name: history_has_new_lines(tables, relations, once.known, name, unfinished=unfinished),
    )
    yield summed.finding
    lacks_records = summed.value is None or summed.value  # until it is shown that it does not

    yield run(
        "rows = quarantined lines of the ledger",
        QUARANTINE,
        (QUARANTINE, FILES),
        lambda name: quarantine_has_its_lines(tables, relations, name, unfinished=unfinished),
    ).finding

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


def nothing_unfinished(tables: Tables, name: str) -> Outcome[bool]:
    """Learns whether the last batch is unfinished."""
    history = tables.history
    unfinished = CommitIntent.of(tables.lake, history) is not None
    detail = "the last batch is unfinished; run `compactor compact`" if unfinished else "the last batch is finished"
    repairs = (remedies.settle(tables.dataset),) if unfinished else ()
    return Outcome(Finding(Check(name, history.name, not unfinished, detail), repairs), unfinished)


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


def history_has_new_lines(
    tables: Tables, relations: Relations, history: HistoryCounts, name: str, *, unfinished: bool
) -> Outcome[bool]:
    """Learns whether the history lacks records that the ledger counts."""
    new = _sums(tables, relations, "new")
    detail = f"{history.rows} rows, {new.total} new lines"
    check = Check(name, tables.dataset.history_table, history.rows == new.total, detail)
    repairs: tuple[Repair, ...] = ()
    if history.ids < new.least:
        repairs = (remedies.lost_records(tables.dataset, new.least - history.ids),)
    elif history.ids > new.most and not unfinished:
        repairs = (remedies.foreign_records(tables.dataset, history.ids - new.most),)
    return Outcome(Finding(check, repairs), history.ids < new.most)


def quarantine_has_its_lines(tables: Tables, relations: Relations, name: str, *, unfinished: bool) -> Outcome[None]:
    quarantined = _sums(tables, relations, "quarantined")
    where = {"dataset": tables.dataset.name}
    with relations.arrow("lines", tables.table(QUARANTINE).scan(LINE, where=where).batches) as rows:
        kept, lines = counts(
            relations.con, f"SELECT count(*), count(DISTINCT (source_file, etag, source_line)) FROM {rows}"
        )
    detail = f"{kept} rows of {tables.dataset.name}, {quarantined.total} quarantined lines"
    beyond = lines - quarantined.most if lines > quarantined.most else min(lines - quarantined.least, 0)
    repairs = (remedies.quarantine_sums(tables.dataset, beyond),) if beyond and not unfinished else ()
    return Outcome(Finding(Check(name, QUARANTINE, kept == quarantined.total, detail), repairs))


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
    lost: frozenset[str] = frozenset()
    try:
        compared = differences.compare(relations, dataset, current, history)
    except Exception:
        lost = file_inventory.take(current).lost
        if not lost:
            raise
        compared = differences.compare(relations, dataset, current, history, lost)
    detail = str(compared.difference) + (f"; {len(lost)} data files are missing, such as {min(lost)}" if lost else "")
    check = Check(name, current.name, compared.difference.is_none and not lost, detail)
    if check.ok:
        return Outcome(Finding(check))
    spare = lacks_records or unfinished
    repairs = _derivation(tables, relations, compared, lost, spare=spare, lacks_records=lacks_records)
    return Outcome(Finding(check, repairs))


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


def _sums(tables: Tables, relations: Relations, count: Literal["new", "quarantined"]) -> Sums:
    """The sums of one of the ledger's counts over the objects of the dataset."""
    scan = tables.table(FILES).scan([*upsert.OBJECT, count], where={"dataset": tables.dataset.name})
    with relations.arrow("entries", scan.batches) as entries:
        total, least, most = counts(
            relations.con,
            "SELECT coalesce(sum(total), 0)::BIGINT, coalesce(sum(least), 0)::BIGINT, coalesce(sum(most), 0)::BIGINT"
            f' FROM (SELECT sum("{count}") AS total, min("{count}") AS least, max("{count}") AS most FROM {entries}'
            f" GROUP BY {', '.join(upsert.OBJECT)})",
        )
    return Sums(total, least, most)

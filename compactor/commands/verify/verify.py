"""Checks that the tables hold together: each row once, all sums right, current state as history says.

Each check comes with what can be done about it if it fails (see `remedies`). A table whose file is missing fails the
checks that need it, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import duckdb

from compactor.commands.verify import differences, remedies
from compactor.commands.verify.differences import Difference, counts
from compactor.config import Config
from compactor.duck import session
from compactor.duck.sql import quote
from compactor.engines.local import plan_derived
from compactor.errors import CompactorError, MissingTableError
from compactor.lake import file_inventory
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.merge.columns import columns_for_current
from compactor.merge.current import current_ids, sizes
from compactor.publish import ledger
from compactor.publish.intent import Note
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import Check, Repair, VerifyReport

COUNTS = ("size", "lines", "new", "duplicates", "quarantined")
LINE = (*ledger.LINES_OF_OBJECT, "source_line")
_METADATA = "the metadata file that the catalog names"
_CURRENT = "current = what history says"


@dataclass(frozen=True)
class Finding:
    """A check, and what can be done about it. `blocks`: the table cannot be read, so what needs it has to wait."""

    check: Check
    repairs: tuple[Repair, ...] = ()
    dataset: Dataset | None = None
    blocks: bool = False


def verify(config: Config, registry: Registry, *, rebuild: bool, files: bool = False) -> VerifyReport:
    """Runs all checks. `rebuild` also derives current state from history and compares it row by row; `files` looks
    for files that tables refer to and that are gone, and for files that no table refers to.

    Nothing is changed. Raises CompactorError where the catalog or the storage cannot be read.
    """
    found = inspect(Lakehouse(config), registry, rebuild=rebuild, files=files)
    return VerifyReport(tuple(finding.check for finding in found))


def inspect(lake: Lakehouse, registry: Registry, *, rebuild: bool, files: bool) -> Iterator[Finding]:
    """The checks of `verify`, one after the other, each with what can be done about it."""
    with session.session(lake.config.resources) as con:
        yield from _made(lake, "each object once", FILES, (FILES,), lambda: _ledger(con, lake))
        yield from _made(lake, "each rejected line once", QUARANTINE, (QUARANTINE,), lambda: _lines(con, lake))
    datasets = [registry.datasets[name] for name in sorted(registry.datasets)]
    for dataset in datasets:
        if _is_there(lake, dataset.history_table):
            try:
                shaped = lake.at_table_version(dataset)
            except FileNotFoundError:
                shaped = dataset  # the checks will tell what is missing
            except CompactorError as error:
                yield Finding(Check("one shape", dataset.history_table, ok=False, detail=str(error)))
                continue
            with session.session(lake.config.resources) as con:
                yield from _Inspection(lake, con, shaped).findings(rebuild=rebuild)
    if files:
        owners = {name: each for each in datasets for name in (each.history_table, each.current_table) if name}
        for name in (*sorted(owners), FILES, QUARANTINE, RUNS):
            yield from _files(lake, name, owners.get(name)) if _is_there(lake, name) else ()


def _made(
    lake: Lakehouse, name: str, table: str, needs: Sequence[str], check: Callable[[], Iterable[Finding]]
) -> Iterator[Finding]:
    """The findings of a check; a failed one if a file is missing of a table that it needs."""
    try:
        findings = list(check())
    except Exception:
        gone = {each: path for each in needs if (path := _gone(lake, each))}
        if not gone:
            raise
        where, path = next(iter(gone.items()))
        detail = f"cannot be told: {path} is missing, which {where} needs; see `compactor verify --repair`"
        findings = [Finding(Check(name, table, ok=False, detail=detail))]
    yield from findings


def _gone(lake: Lakehouse, name: str) -> str | None:
    """A file that is missing without which the table cannot be read."""
    try:
        return next(iter(file_inventory.take(lake.table(name)).unreadable), None)
    except FileNotFoundError:
        return _METADATA
    except MissingTableError:
        return None


def _is_there(lake: Lakehouse, name: str) -> bool:
    try:
        return lake.exists(name)
    except FileNotFoundError:
        return True  # in the catalog


def _ledger(con: duckdb.DuckDBPyConnection, lake: Lakehouse) -> Iterator[Finding]:
    table = lake.table(FILES)
    con.register("entries", table.scan([*ledger.OBJECT, *COUNTS]).batches)
    con.execute("CREATE TABLE ledger AS SELECT * FROM entries")
    rows, objects = counts(con, "SELECT count(*), count(DISTINCT (dataset, key, etag)) FROM ledger")
    (wrong,) = counts(con, "SELECT count(*) FROM ledger WHERE lines <> new + duplicates + quarantined")
    repairs: list[Repair] = []
    if rows != objects:
        twice = differences.find_twice(con, table, ledger.OBJECT, COUNTS)
        repairs += [remedies.keep_one(FILES, "objects", twice, "the earliest row")] if twice.keys else []
        repairs += [remedies.disputed_objects(twice)] if twice.disputed else []
    once = Check("each object once", FILES, rows == objects, f"{rows} rows, {objects} objects")
    yield Finding(once, tuple(repairs))
    sums = Check("lines = new + duplicates + quarantined", FILES, wrong == 0, f"{wrong} of {rows} objects differ")
    yield Finding(sums, (remedies.wrong_sums(wrong),) if wrong else ())


def _lines(con: duckdb.DuckDBPyConnection, lake: Lakehouse) -> Iterator[Finding]:
    table = lake.table(QUARANTINE)
    twice = differences.find_twice(con, table, LINE)
    check = Check("each rejected line once", QUARANTINE, not twice.keys, f"{twice.surplus} rows too many")
    repair = remedies.keep_one(QUARANTINE, "lines", twice, "the newest row")
    yield Finding(check, (repair,) if twice.keys else ())


@dataclass
class _Inspection:
    """The checks of one dataset. All see the same versions of its tables, loaded at one moment: the current table
    first, because a history that is loaded later has all that it can have seen.
    """

    lake: Lakehouse
    con: duckdb.DuckDBPyConnection
    dataset: Dataset
    unfinished: bool = False
    rows: int | None = None
    ids: int | None = None
    lacks_records: bool = True  # until it is shown that it does not
    tables: dict[str, Table] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.dataset.current_table, self.dataset.history_table, FILES, QUARANTINE):
            with suppress(FileNotFoundError, MissingTableError):  # told by the checks that need it
                self._table(name or FILES)

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            self.tables[name] = self.lake.table(name)
        return self.tables[name]

    def findings(self, *, rebuild: bool) -> Iterator[Finding]:
        history, current = self.dataset.history_table, self.dataset.current_table
        new, quarantined = "rows = new lines of the ledger", "rows = quarantined lines of the ledger"
        yield from self._of("nothing unfinished", history, (history, FILES), self._settled)
        yield from self._of("each record once", history, (history,), self._once)
        yield from self._of(new, history, (history, FILES), self._sums)
        yield from self._of(quarantined, QUARANTINE, (QUARANTINE, FILES), self._quarantine)
        if current and current not in self.tables and not _is_there(self.lake, current):
            yield from self._of("the table exists", current, (history,), self._absent)
        elif current:
            yield from self._of("each key once", current, (current,), self._keys)
            if rebuild:
                yield from self._of(_CURRENT, current, (current, history), self._rebuild)

    def _of(
        self,
        name: str,
        table: str,
        needs: Sequence[str],
        check: Callable[[], Iterable[Finding]],
    ) -> Iterator[Finding]:
        for found in _made(self.lake, name, table, needs, check):
            yield Finding(found.check, found.repairs, self.dataset)

    def _settled(self) -> Iterator[Finding]:
        history = self._table(self.dataset.history_table)
        self.unfinished = Note.of(self.lake, history) is not None
        hint = "the last batch is unfinished; run `compactor compact`"
        hint = hint if self.unfinished else "the last batch is finished"
        repairs = (remedies.settle(self.dataset),) if self.unfinished else ()
        yield Finding(Check("nothing unfinished", history.name, not self.unfinished, hint), repairs)

    def _once(self) -> Iterator[Finding]:
        history = self._table(self.dataset.history_table)
        self.con.register("ids", history.scan(["id"]).batches)
        rows, ids = self.rows, self.ids = counts(self.con, "SELECT count(*), count(DISTINCT id) FROM ids")
        repairs: tuple[Repair, ...] = ()
        if rows != ids:
            twice = differences.find_twice(self.con, history, ["id"])
            repairs = (remedies.keep_one(history.name, "ids", twice, "the earliest record"),)
        yield Finding(Check("each record once", history.name, rows == ids, f"{rows} rows, {ids} ids"), repairs)

    def _sums(self) -> Iterator[Finding]:
        name = self.dataset.history_table
        self._accounts()
        new, least, most = self._count("new")
        assert self.rows is not None
        assert self.ids is not None
        check = Check("rows = new lines of the ledger", name, self.rows == new, f"{self.rows} rows, {new} new lines")
        self.lacks_records = self.ids < most
        repairs: tuple[Repair, ...] = ()
        if self.ids < least:
            repairs = (remedies.lost_records(self.dataset, least - self.ids),)
        elif self.ids > most and not self.unfinished:
            repairs = (remedies.foreign_records(self.dataset, self.ids - most),)
        yield Finding(check, repairs)

    def _quarantine(self) -> Iterator[Finding]:
        self._accounts()
        quarantined, least, most = self._count("quarantined")
        where = {"dataset": self.dataset.name}
        self.con.register("lines", self._table(QUARANTINE).scan(LINE, where=where).batches)
        kept, lines = counts(self.con, "SELECT count(*), count(DISTINCT (source_file, etag, source_line)) FROM lines")
        detail = f"{kept} rows of {self.dataset.name}, {quarantined} quarantined lines"
        beyond = lines - most if lines > most else min(lines - least, 0)
        repairs = (remedies.quarantine_sums(self.dataset, beyond),) if beyond and not self.unfinished else ()
        yield Finding(Check("rows = quarantined lines of the ledger", QUARANTINE, kept == quarantined, detail), repairs)

    def _accounts(self) -> None:
        """Makes `account`: per object of the ledger, the sum, least and most of its rows' new and quarantined lines.

        They differ where an object has several rows; if these disagree, any can be the right one.
        """
        scan = self._table(FILES).scan([*ledger.OBJECT, "new", "quarantined"], where={"dataset": self.dataset.name})
        self.con.register("entries", scan.batches)
        self.con.execute(
            "CREATE OR REPLACE TABLE account AS SELECT sum(new) AS new, min(new) AS least_new, max(new) AS most_new,"
            " sum(quarantined) AS quarantined, min(quarantined) AS least_quarantined,"
            " max(quarantined) AS most_quarantined FROM entries GROUP BY dataset, key, etag"
        )

    def _count(self, name: str) -> tuple[int, ...]:
        sums = ", ".join(f"coalesce(sum({prefix}{name}), 0)" for prefix in ("", "least_", "most_"))
        return counts(self.con, f"SELECT {sums} FROM account")

    def _keys(self) -> Iterator[Finding]:
        current = self._table(self.dataset.current_table or "")
        self.con.register("current_keys", current.scan(self.dataset.key).batches)
        keys = ", ".join(map(quote, self.dataset.key))
        rows, distinct = counts(self.con, f"SELECT count(*), count(DISTINCT ({keys})) FROM current_keys")
        yield Finding(Check("each key once", current.name, rows == distinct, f"{rows} rows, {distinct} keys"))

    def _rebuild(self) -> Iterator[Finding]:
        current, history = self._table(self.dataset.current_table or ""), self._table(self.dataset.history_table)
        lost: frozenset[str] = frozenset()
        try:
            difference = differences.compare(self.con, self.dataset, current, history)
        except Exception:
            lost = file_inventory.take(current).lost
            if not lost:
                raise
            difference = differences.compare(self.con, self.dataset, current, history, lost)
        detail = str(difference) + (f"; {len(lost)} data files are missing, such as {min(lost)}" if lost else "")
        check = Check(_CURRENT, current.name, difference.is_none and not lost, detail)
        yield Finding(check, () if check.ok else self._derivation(current, history, difference, lost))

    def _derivation(
        self,
        current: Table,
        history: Table,
        difference: Difference,
        lost: frozenset[str],
    ) -> tuple[Repair, ...]:
        spared = differences.touch(self.con, self.dataset, history, spare=self.lacks_records or self.unfinished)
        rewrite = plan_derived(self.con, self.dataset, current, history, lost)
        inserted, removed = sizes(self.con)
        (keys,) = counts(self.con, "SELECT count(*) FROM touched")
        rows = sum(file.record_count for file in rewrite) + inserted - removed
        files = len(rewrite) + len(lost)
        repairs: tuple[Repair, ...] = (remedies.spared(self.dataset, spared),) if spared and self.lacks_records else ()
        if keys or lost:
            derive = remedies.derive(current.name, difference, keys=keys, lost=len(lost), rows=rows, files=files)
            repairs = (derive, *repairs)
        return repairs

    def _absent(self) -> Iterator[Finding]:
        history = self._table(self.dataset.history_table)
        self.con.register("past", history.scan(columns_for_current(self.dataset)).batches)
        (keys,) = counts(self.con, f"SELECT count(*) FROM ({current_ids(self.dataset, 'past')})")
        check = Check("the table exists", self.dataset.current_table or "", ok=False, detail=f"{keys} keys are due")
        yield Finding(check, (remedies.make(self.dataset, keys=keys),))


def _files(lake: Lakehouse, name: str, dataset: Dataset | None) -> Iterator[Finding]:
    try:
        table = lake.table(name)
        found = file_inventory.take(table)
    except FileNotFoundError:
        check = Check("each file is there", name, ok=False, detail=f"{_METADATA} is missing")
        yield Finding(check, (remedies.unreadable(name, _METADATA, dataset),), dataset, blocks=True)
        return
    such_as = f", such as {found.missing[0]}" if found.missing else ""
    detail = f"{found.referenced} files, {len(found.missing)} missing{such_as}"
    check = Check("each file is there", name, not found.missing, detail)
    yield _file_finding(table, found, check, dataset)
    if found.left_over:
        size = sum(found.left_over.values()) / 1e6
        detail = (
            f"{len(found.left_over)} files ({size:,.1f} MB) of killed runs, or of one under way,"
            f" such as {next(iter(found.left_over))}; left alone"
        )
        yield Finding(Check("files that nothing refers to", name, ok=True, detail=detail))


def _file_finding(table: Table, found: file_inventory.Inventory, check: Check, dataset: Dataset | None) -> Finding:
    """What follows from a table's missing files. Rows of a current table can be derived, those of others cannot."""
    is_current = dataset is not None and table.name == dataset.current_table
    other = len(found.missing) - len(found.unreadable)
    repairs: list[Repair] = []
    blocks = bool(found.unreadable)
    if dataset and not is_current and found.lost and len(found.lost) == len(found.unreadable):
        rows = sum(file.record_count for file in table.files if file.file_path in found.lost)
        repairs.append(remedies.lost_history_files(dataset, len(found.lost), rows, found.unreadable[0]))
    elif is_current and len(found.lost) == len(found.unreadable):
        blocks = False  # `derive` takes them out
    elif found.unreadable:
        repairs.append(remedies.unreadable(table.name, found.unreadable[0], dataset))
    if is_current and found.broken and not blocks:
        repairs.append(remedies.forget(table.name, len(found.broken)))
    elif other:
        path = next(path for path in found.missing if path not in found.unreadable)
        repairs.append(remedies.missing_metadata(table.name, other, path))
    return Finding(check, tuple(repairs), dataset, blocks)

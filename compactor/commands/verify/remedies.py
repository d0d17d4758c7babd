"""What to do about what `verify` finds, in words: what `repair` does, and what only the operator can do.

A record that is lost from a history is nowhere else in the lake, unless it is still current. So no repair changes sums
to make them agree: a repair removes duplicates, and derives what can be derived.
"""

from __future__ import annotations

from compactor.commands.verify.differences import Difference, Duplicates
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.registry.dataset import Dataset
from compactor.reports.report import Repair


def settle(dataset: Dataset) -> Repair:
    return Repair(dataset.history_table, "its last batch is unfinished", "finish it, as the next `compact` would")


def keep_one(table: str, what: str, found: Duplicates, which: str) -> Repair:
    wrong = f"{found.count} {what} have duplicates, {found.surplus} rows too many"
    return Repair(table, wrong, f"keep {which} of each", rows=found.rows, files=len(found.files))


def derive(table: str, difference: Difference, *, keys: int, lost: int, rows: int, files: int) -> Repair:
    wrong = f"{difference}" + (f"; {lost} of its data files are missing" if lost else "")
    taken = "take the missing files out of the table, and " if lost else ""
    return Repair(table, wrong, f"{taken}derive the rows of {keys} keys again from history", rows=rows, files=files)


def create(dataset: Dataset, *, keys: int) -> Repair:
    table = dataset.current_table or ""
    return Repair(table, "the table does not exist", f"create it, and derive the rows of {keys} keys from history")


def forget(table: str, snapshots: int) -> Repair:
    wrong = f"{snapshots} older snapshots refer to files that are missing"
    return Repair(table, wrong, "take these snapshots, which cannot be read, out of the table's metadata")


def spared(dataset: Dataset, keys: int) -> Repair:
    table, history = dataset.current_table or "", dataset.history_table
    wrong = f"the rows of {keys} keys may be the only copy of records that the history has lost; they were left alone"
    return _by_operator(
        table,
        wrong,
        f"to keep them, put them into the history by any engine: `INSERT INTO {history} SELECT * FROM {table} WHERE id"
        f" NOT IN (SELECT id FROM {history})`; if they were erased from the history on purpose, delete them here too",
    )


def lost_records(dataset: Dataset, lacking: int) -> Repair:
    history = dataset.history_table
    return _by_operator(
        history,
        f"{lacking} records that were loaded are no longer in it; they are nowhere else in the lake"
        + (", unless they are still current" if dataset.current_table else ""),
        "if another engine deleted them by mistake, put them back from the snapshot before:"
        f" `INSERT INTO {history} SELECT * FROM {history} FOR VERSION AS OF <snapshot> WHERE id NOT IN (SELECT id FROM"
        f" {history})`; {_reload(dataset)}. After an erasure on purpose this check stays failed",
    )


def foreign_records(dataset: Dataset, surplus: int) -> Repair:
    history = dataset.history_table
    sql = (
        f"select source_file, count(*) as rows, coalesce(any_value(counted), 0) as counted from {history} left join"
        f" (select key as source_file, sum(new) as counted from {FILES} where dataset = '{dataset.name}' group by 1)"
        " using (source_file) group by 1 having rows > counted"
    )
    return _by_operator(
        history,
        f"{surplus} records are in it that the ledger never counted: another engine wrote them, or the ledger lost"
        " rows",
        f'see which objects they name: `compactor query "{sql}"`; delete the records with any engine if they do not'
        f" belong; {_reload(dataset)}",
    )


def lost_history_files(dataset: Dataset, files: int, rows: int, path: str) -> Repair:
    return _by_operator(
        dataset.history_table,
        f"{files} data files with {rows} rows are missing, such as {path}; these rows are nowhere else in the lake"
        + (", unless they are still current" if dataset.current_table else ""),
        f"restore the files under their names from the bucket's versions or a backup; {_reload(dataset)}",
    )


def unreadable(table: str, path: str, dataset: Dataset | None = None) -> Repair:
    """For a missing file without which a table's rows cannot be read or derived."""
    wrong = f"it cannot be read: {path} is missing"
    restore = "restore the file under its name from the bucket's versions or a backup"
    if dataset and table == dataset.current_table:
        return _by_operator(
            table,
            wrong,
            f"{restore}; or drop the table in the catalog: `compactor verify --repair --yes` creates it again",
        )
    if dataset:
        return _by_operator(table, wrong, f"{restore}; {_reload(dataset)}")
    other = {
        FILES: "or drop the table in the catalog: `compactor verify --repair` counts its objects again",
        QUARANTINE: "or drop the table in the catalog: `compactor verify --repair` lets the next run read the objects"
        " with rejected lines again",
        RUNS: "or drop the table in the catalog: `compactor verify --repair` creates an empty one. No record is lost"
        " then, only the list of runs",
    }
    return _by_operator(table, wrong, f"{restore}; {other[table]}")


def missing_metadata(table: str, files: int, path: str) -> Repair:
    return _by_operator(
        table,
        f"{files} files that only older snapshots or older metadata refer to are missing, such as {path}; no row of the"
        " table as it is now is lost",
        "restore them from the bucket's versions or a backup, or expire the older snapshots with an engine that can",
    )


def disputed_objects(found: Duplicates) -> Repair:
    sql = f"select * from {FILES} qualify count(*) over (partition by dataset, key, etag) > 1"
    return _by_operator(
        FILES,
        f"{found.disputed} objects have several rows with different counts; the tables do not show which is right",
        f'see them: `compactor query "{sql}"`; then delete the wrong ones with any engine',
    )


def wrong_sums(objects: int) -> Repair:
    return _by_operator(
        FILES,
        f"the counts of {objects} objects contradict each other; something other than this program has changed them",
        f'see them: `compactor query "select * from {FILES} where lines <> new + duplicates + quarantined"`; then'
        f" restore the rows from a snapshot of {FILES} before the change, with any engine",
    )


def quarantine_sums(dataset: Dataset, lines: int) -> Repair:
    lacking = lines < 0
    wrong = (
        f"{-lines} rejected lines of {dataset.name} that the ledger counts are gone from it, not from their objects"
        if lacking
        else f"{lines} lines of {dataset.name} are in it that the ledger does not count"
    )
    return _by_operator(
        QUARANTINE,
        wrong,
        f"restore {QUARANTINE} to its snapshot before the change, with any engine; {_reload(dataset)}",
    )


def blocked(repair: Repair, table: str) -> Repair:
    return _by_operator(
        repair.table, repair.wrong, f"first repair {table} (see there); then run `compactor verify --repair` again"
    )


def _by_operator(table: str, wrong: str, action: str) -> Repair:
    return Repair(table, wrong, action, possible=False)


def _reload(dataset: Dataset) -> str:
    tables = " and ".join(filter(None, (dataset.history_table, dataset.current_table)))
    return (
        f"or, if the source still has all objects, load the dataset again: drop {tables} in the catalog, then run"
        f" `compactor verify --repair --yes`, then `compactor compact --dataset {dataset.name} --full-scan`"
    )

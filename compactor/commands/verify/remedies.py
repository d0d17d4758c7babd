"""What to do about what `verify` finds, in words: what `repair` does, and what only the operator can do.

A record that is lost from a history is nowhere else in the lake, unless it is still current. So no repair changes sums
to make them agree: a repair removes duplicates, and derives what can be derived.
"""

from __future__ import annotations

from compactor.commands.verify.differences import Difference, Duplicates
from compactor.lake.own_tables import ACKNOWLEDGED, FILES, QUARANTINE, RUNS
from compactor.registry.dataset import Dataset
from compactor.reports.report import Repair


def settle(dataset: Dataset) -> Repair:
    return Repair(dataset.history_table, "its last batch is unfinished", "finish it, as the next `compact` would")


def keep_one(table: str, what: str, found: Duplicates, which: str) -> Repair:
    wrong = f"{found.count} {what} have duplicates, {found.surplus} rows too many"
    return Repair(table, wrong, f"keep {which} of each", rows=found.rows, files=len(found.files))


def derive(table: str, difference: Difference, *, keys: int, lost: int, rows: int, files: int) -> Repair:
    wrong = f"{difference}" + (f"; {lost} of its data files are missing or damaged" if lost else "")
    taken = "take these files out of the table, and " if lost else ""
    return Repair(table, wrong, f"{taken}derive the rows of {keys} keys again from history", rows=rows, files=files)


def create(dataset: Dataset, *, keys: int) -> Repair:
    table = dataset.current_table or ""
    return Repair(table, "the table does not exist", f"create it, and derive the rows of {keys} keys from history")


def derive_all(dataset: Dataset, path: str, why: str) -> Repair:
    """For a current table of which the metadata is damaged, so that its data files are not known."""
    return Repair(
        dataset.current_table or "",
        f"it cannot be read: {path} {why}",
        "begin it anew, without its older snapshots, and derive the rows of all keys from history",
    )


def forget(table: str, snapshots: int) -> Repair:
    wrong = f"{snapshots} older snapshots refer to files that are missing or damaged"
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


def lost_history_files(dataset: Dataset, files: int, rows: int, path: str, why: str) -> Repair:
    return _by_operator(
        dataset.history_table,
        f"{files} data files with {rows} rows are missing or damaged, such as {path}, which {why}; these rows are"
        " nowhere else in the lake" + (", unless they are still current" if dataset.current_table else ""),
        f"restore the files under their names from the bucket's versions or a backup; {_reload(dataset)}",
    )


def unreadable(table: str, path: str, why: str, dataset: Dataset | None = None) -> Repair:
    """For a missing or damaged file without which a table's rows cannot be read or derived."""
    wrong = f"it cannot be read: {path} {why}"
    restore = "restore the file under its name from the bucket's versions or a backup"
    if dataset:
        return _by_operator(table, wrong, f"{restore}; {_reload(dataset)}")
    other = {
        FILES: "or drop the table in the catalog: `compactor verify --repair` counts its objects again",
        QUARANTINE: "or drop the table in the catalog: `compactor verify --repair` lets the next run read the objects"
        " with rejected lines again",
        RUNS: "or drop the table in the catalog: `compactor verify --repair` creates an empty one. No record is lost"
        " then, only the list of runs",
        ACKNOWLEDGED: "or drop the table in the catalog: `compactor verify --repair` creates an empty one. No record is"
        " lost then, and what was acknowledged is reported again",
    }
    return _by_operator(table, wrong, f"{restore}; {other[table]}")


def missing_metadata(table: str, files: int, path: str) -> Repair:
    return _by_operator(
        table,
        f"{files} files that only older snapshots or older metadata refer to are missing or damaged, such as {path}; no"
        " row of the table as it is now is lost",
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


def moved_counts(dataset: Dataset, lines: int) -> Repair:
    sql = (
        f"select source_file, count(*) as rows, coalesce(any_value(counted), 0) as counted from {dataset.history_table}"
        f" full join (select key as source_file, sum(new) as counted from {FILES} where dataset = '{dataset.name}'"
        " group by 1) using (source_file) group by 1 having rows <> counted"
    )
    return _by_operator(
        FILES,
        f"{lines} new lines of {dataset.name} are counted in other objects than those that their rows name; something"
        " other than this program has changed the ledger or the history",
        f'see the objects: `compactor query "{sql}"`; then restore the rows from a snapshot of {FILES} or of'
        f" {dataset.history_table} before the change, with any engine",
    )


def run_sums(dataset: Dataset, runs: int, example: str) -> Repair:
    sql = (
        "select r.run_id, r.objects, r.lines, r.new, r.duplicates, r.quarantined, f.* exclude (run_id) from"
        f" {RUNS} r left join (select run_id, count(*) as of_objects, sum(lines) as of_lines, sum(new) as of_new,"
        f" sum(duplicates) as of_duplicates, sum(quarantined) as of_quarantined from {FILES} where dataset ="
        f" '{dataset.name}' group by 1) f using (run_id) where r.dataset = '{dataset.name}' and r.verb = 'compact' and"
        " (r.objects, r.lines, r.new, r.duplicates, r.quarantined) is distinct from (f.of_objects, f.of_lines,"
        " f.of_new, f.of_duplicates, f.of_quarantined)"
    )
    return _by_operator(
        RUNS,
        f"{runs} runs of {dataset.name} have other counts than their objects in the ledger, such as {example};"
        " something other than this program has changed one of them",
        f'see both: `compactor query "{sql}"`; then restore the rows from a snapshot of {RUNS} or of {FILES} before the'
        " change, with any engine; if objects were taken out of the ledger on purpose, delete the runs' rows too",
    )


def changed_file(table: str, files: int, rows: int, path: str, why: str, dataset: Dataset | None) -> Repair:
    """For data files that were read, and are not as they were written."""
    return _by_operator(
        table,
        f"{files} data files with {rows} rows are not as they were written, such as {path}, which {why}",
        "restore the files under their names from the bucket's versions or a backup"
        + (f"; {_reload(dataset)}" if dataset else ""),
    )


def changed_rows(table: str, rows: int, snapshot_id: int) -> Repair:
    return _by_operator(
        table,
        f"another engine has changed the values of {rows} rows",
        "read the rows as they were before its first commit, with any engine: `SELECT * FROM"
        f" {table} FOR VERSION AS OF {snapshot_id}`; put these values back, in place of the changed ones",
    )


def damaged_intent(dataset: Dataset, path: str, why: str) -> Repair:
    return _by_operator(
        dataset.history_table,
        f"its last batch is unfinished and cannot be finished: {path} {why}",
        f"restore the file under its name from the bucket's versions or a backup; {_reload(dataset)}",
    )


def quarantine_sums(dataset: Dataset, lines: int) -> Repair:
    lacking = lines < 0
    wrong = (
        f"{-lines} rejected lines of {dataset.name} that the ledger counts are gone from it, not from their objects"
        if lacking
        else f"{lines} lines of {dataset.name} are in it that the ledger does not count"
    )
    sql = (
        f"select key, etag, quarantined, rows from (select key, etag, quarantined from {FILES} where dataset ="
        f" '{dataset.name}') full join (select source_file as key, etag, count(*) as rows from {QUARANTINE} where"
        f" dataset = '{dataset.name}' group by all) using (key, etag) where quarantined is distinct from rows and"
        " coalesce(quarantined, rows) > 0"
    )
    return _by_operator(
        QUARANTINE,
        wrong,
        f'see the objects: `compactor query "{sql}"`; then restore {QUARANTINE} or {FILES} to its snapshot before the'
        f" change, with any engine; {_reload(dataset)}",
    )


def blocked(repair: Repair, table: str) -> Repair:
    return _by_operator(
        repair.table, repair.wrong, f"first repair {table} (see there); then run `compactor verify --repair` again"
    )


def _by_operator(table: str, wrong: str, action: str) -> Repair:
    return Repair(table, wrong, action, possible=False)


def _reload(dataset: Dataset) -> str:
    tables = " and ".join(dataset.tables)
    return (
        f"or, if the source still has all objects, load the dataset again: drop {tables} in the catalog, then run"
        f" `compactor verify --repair --yes`, then `compactor compact --dataset {dataset.name} --full-scan`"
    )

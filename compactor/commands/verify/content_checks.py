"""`verify --content`: each data file holds what was written into it, and other engines have changed no row.

A file of which a content hash was recorded (see `lake.content`) is compared with it, byte for byte. Any other file is
read whole, and counted as not checked: an older version, Spark or another engine has written it, or the snapshot with
its hash has expired. What another engine has replaced is compared row by row, as long as its snapshots are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compactor.commands.verify import remedies
from compactor.commands.verify.differences import counts
from compactor.commands.verify.finding import Finding, Outcome, run
from compactor.commands.verify.ledger_checks import LINE
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.duck.sql import quote
from compactor.lake import file_reading
from compactor.lake.catalog import Lakehouse
from compactor.lake.file_inventory import Inventory
from compactor.lake.own_tables import ACKNOWLEDGED, FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.publish import upsert
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair

_KEYS = {FILES: upsert.OBJECT, QUARANTINE: LINE, RUNS: upsert.RUN, ACKNOWLEDGED: upsert.ACKNOWLEDGEMENT}


def check_content(lake: Lakehouse, table: Table, dataset: Dataset | None, found: Inventory) -> Iterator[Finding]:
    """The checks of a table of a dataset, or of one of the program's own (None).

    Args:
        found: the files of the table. The check of files says what to do about those that are `lost`.
    """
    yield _each_file(table, dataset, found.lost)
    if dataset and table.name == dataset.current_table:
        return  # `--rebuild` compares it with the history, which is the better proof
    key = ("id",) if dataset else _KEYS[table.name]
    name = "rows changed by other engines"
    changed = run(lake, name, table.name, (table.name,), lambda name: _rows_by_others(lake, table, key, name), dataset)
    if changed.finding.check.detail:
        yield changed.finding


def _each_file(table: Table, dataset: Dataset | None, lost: frozenset[str]) -> Finding:
    hashes = file_reading.recorded_hashes(table)
    files = table.files
    recorded = [file_reading.hash_recorded(hashes, file) for file in files]
    wrong = {}
    for file, hash_ in zip(files, recorded, strict=True):
        if problem := file_reading.wrong_with(table, file, hash_):
            wrong[file.file_path] = problem
    unchecked = recorded.count(None)
    detail = f"{len(files)} files, {len(wrong)} not as they were written"
    detail += f"; {unchecked} have no recorded hash and are not checked" if unchecked else ""
    detail += "; another engine has deleted rows by position, which stay in the files" if table.has_deletes else ""
    check = Check("content of each file", table.name, not wrong, detail)
    if not wrong:
        return Finding(check, dataset=dataset)
    path = min(wrong)
    check = Check(check.name, check.table, ok=False, detail=f"{detail}, such as {path}, which {wrong[path]}")
    if dataset and table.name == dataset.current_table:
        return Finding(check, dataset=dataset, damaged=frozenset(wrong))  # `remedies.derive` takes them out
    changed = sorted(wrong.keys() - lost)
    rows = sum(file.record_count for file in files if file.file_path in changed)
    repairs: tuple[Repair, ...] = ()
    if changed:
        repairs = (remedies.changed_file(table.name, len(changed), rows, changed[0], wrong[changed[0]], dataset),)
    return Finding(check, repairs, dataset, blocks=True)


def _rows_by_others(lake: Lakehouse, table: Table, key: Sequence[str], name: str) -> Outcome[None]:
    """Compares the rows that other engines have taken out, over all of their commits, with those that they put in.

    A row that is put back as it was is no change. The detail is empty where no other engine has written rows.
    """
    commits = table.foreign_changes()
    if not commits:
        return Outcome(Finding(Check(name, table.name, ok=True)))
    gone = sum(not table.has(file.file_path) for commit in commits for file in (*commit.added, *commit.removed))
    if gone:
        detail = f"{len(commits)} commits by other engines; not checked, because {gone} of their files are gone"
        return Outcome(Finding(Check(name, table.name, ok=True, detail=detail)))
    keys = ", ".join(map(quote, key))
    columns = table.schema.names
    content = f"hash({', '.join(map(quote, columns))})"
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        changes = relations.empty("changes", {**dict.fromkeys(key, "VARCHAR"), "content": "UBIGINT", "sign": "INTEGER"})
        cast = ", ".join(f"{quote(each)}::VARCHAR" for each in key)
        for commit in commits:
            for sign, files in ((1, commit.added), (-1, commit.removed)):
                with relations.arrow("rows", table.scan_files(columns, files).batches) as rows:
                    con.execute(f"INSERT INTO {changes} SELECT {cast}, {content}, {sign} FROM {rows}")
        net = f"SELECT {keys}, sum(sign) AS n FROM {changes} GROUP BY {keys}, content HAVING sum(sign) <> 0"
        changed, added, deleted = counts(
            con,
            "SELECT count(*) FILTER (put > 0 AND taken > 0), coalesce(sum(put) FILTER (taken = 0), 0)::BIGINT,"
            " coalesce(sum(taken) FILTER (put = 0), 0)::BIGINT FROM (SELECT sum(greatest(n, 0)) AS put,"
            f" sum(greatest(-n, 0)) AS taken FROM ({net}) GROUP BY {keys})",
        )
    detail = f"{len(commits)} commits by other engines; {changed} rows changed, {added} added, {deleted} deleted"
    check = Check(name, table.name, not changed, detail)
    first = commits[-1]
    repairs = (remedies.changed_rows(table.name, changed, first.before),) if changed and first.before else ()
    return Outcome(Finding(check, repairs, blocks=bool(changed)))

"""The checks of each of the program's own tables by itself."""

from __future__ import annotations

from compactor.commands.verify import differences, remedies
from compactor.commands.verify.differences import counts
from compactor.commands.verify.finding import Finding, Outcome
from compactor.duck.relations import Relation, Relations
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.publish import upsert
from compactor.reports.report import Check, Repair

COUNTS = ("size", "lines", "new", "duplicates", "quarantined")
"""The numbers that all ledger rows of an object agree on."""
LINE = (*upsert.LINES_OF_OBJECT, "source_line")
"""The columns that identify a rejected line."""
_OBJECT = ", ".join(upsert.OBJECT)


def each_object_once(relations: Relations, table: Table, name: str) -> Outcome[Relation]:
    """Learns the ledger: (dataset, key, etag) and the counts of all its rows."""
    entries = relations.stored("entries", table.scan([*upsert.OBJECT, *COUNTS]).batches)
    rows, objects = counts(relations.con, f"SELECT count(*), count(DISTINCT ({_OBJECT})) FROM {entries}")
    repairs: list[Repair] = []
    if rows != objects:
        found = differences.find_duplicates(relations, table, upsert.OBJECT, COUNTS)
        repairs += [remedies.keep_one(FILES, "objects", found, "the earliest row")] if found.count else []
        repairs += [remedies.disputed_objects(found)] if found.disputed else []
    check = Check(name, FILES, rows == objects, f"{rows} rows, {objects} objects")
    return Outcome(Finding(check, tuple(repairs)), entries)


def sums_hold(relations: Relations, entries: Relation) -> Finding:
    """Checks that each object's lines are all accounted for."""
    rows, wrong = counts(
        relations.con,
        "SELECT count(*), count(*) FILTER (lines <> new + duplicates + quarantined"
        f" OR least(size, new, duplicates, quarantined) < 0) FROM {entries}",
    )
    check = Check("lines = new + duplicates + quarantined", FILES, wrong == 0, f"{wrong} of {rows} objects differ")
    return Finding(check, (remedies.wrong_sums(wrong),) if wrong else ())


def each_rejected_line_once(relations: Relations, table: Table, name: str) -> Outcome[None]:
    found = differences.find_duplicates(relations, table, LINE)
    check = Check(name, QUARANTINE, not found.count, f"{found.surplus} rows too many")
    repair = remedies.keep_one(QUARANTINE, "lines", found, "the newest row")
    return Outcome(Finding(check, (repair,) if found.count else ()))


def each_run_once(relations: Relations, table: Table, name: str) -> Outcome[None]:
    found = differences.find_duplicates(relations, table, upsert.RUN)
    check = Check(name, RUNS, not found.count, f"{found.surplus} rows too many")
    repair = remedies.keep_one(RUNS, "runs", found, "the newest row")
    return Outcome(Finding(check, (repair,) if found.count else ()))

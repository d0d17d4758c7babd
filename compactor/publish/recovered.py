"""What the ledger lacks of a batch whose commit intent is gone, taken from the history.

The commit intent is deleted last, so a batch without one is finished, unless the catalog was restored from a backup
that was taken while the batch was published: then the history has the batch, and the ledger has not. What the history's
snapshot added says which objects had how many new lines. These lines get a ledger row under the ETag `recovered`, so
that the sums hold, and nothing is lost if an object is gone from the source. An object that is read again takes its
lines over: its row is then what it would have been.
"""

from __future__ import annotations

import datetime as dt

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.table import Table
from compactor.publish.intent import CommitIntent
from compactor.publish.upsert import RECOVERED


def rows_of_batch(
    relations: Relations, lake: Lakehouse, dataset: str, history: Table, intent: CommitIntent, at: dt.datetime
) -> Relation:
    """What the ledger lacks of a batch: rows with its columns.

    Args:
        at: when, aware UTC.
    """
    ledger = lake.table(FILES)
    new = _new_lines(relations, ledger, dataset, history, intent)
    if intent.mode == "keep":
        return ledger_rows(relations, ledger, dataset, new, intent.run_id, at)
    replayed, left = _replayed(relations, ledger, lake.table(QUARANTINE), dataset, new)
    rows = ledger_rows(relations, ledger, dataset, left, intent.run_id, at)
    return relations.table("recovered_rows", f"SELECT * FROM {rows} UNION ALL BY NAME SELECT * FROM {replayed}")


def _new_lines(relations: Relations, ledger: Table, dataset: str, history: Table, intent: CommitIntent) -> Relation:
    """(key, n): how many rows the snapshot of a batch added to the history, by object, unless the ledger has them."""
    added, removed = history.changed_files(intent.snapshot)
    where = {"dataset": dataset} | ({"run_id": intent.run_id} if intent.mode == "keep" else {})
    entries = relations.stored("entries", ledger.scan(["key", "new"], where=where).batches)
    # A batch whose rows are there after all must not get them twice. A replay leaves an older run in its rows.
    left_out = f" WHERE source_file NOT IN (SELECT key FROM {entries})"
    if intent.mode != "keep":
        rows_now = sum(file.record_count for file in history.files)
        left_out = f" WHERE {rows_now} > (SELECT sum(new) FROM {entries})"
    with relations.arrow("removed", history.scan_files(["id"], removed).batches) as rows:
        before = relations.table("before", f"SELECT id FROM {rows}")
    with relations.arrow("added", history.scan_files(["id", "source_file"], added).batches) as rows:
        return relations.table(
            "new_lines",
            f"SELECT source_file AS key, count(*) AS n FROM {rows} ANTI JOIN {before} USING (id){left_out} GROUP BY 1",
        )


def _replayed(
    relations: Relations, ledger: Table, quarantine: Table, dataset: str, new: Relation
) -> tuple[Relation, Relation]:
    """The ledger's rows of the objects whose lines a replay took out of the quarantine, and the (key, n) left over.

    These lines are no longer there to be read again: as many as the object has new ones are new, the others duplicates.
    """
    where = {"dataset": dataset}
    entries = relations.stored("entries", ledger.scan(ledger.schema.names, where=where).batches)
    with relations.arrow("lines", quarantine.scan(["source_file", "etag"], where=where).batches) as rows:
        kept = relations.table("kept", f"SELECT source_file AS key, etag, count(*) AS held FROM {rows} GROUP BY 1, 2")
    taken = relations.table(
        "taken",
        "SELECT key, etag, gone, greatest(0, least(gone, coalesce(n, 0) + gone"
        " - sum(gone) OVER (PARTITION BY key ORDER BY etag)))::BIGINT AS new_now FROM ("
        f"SELECT key, etag, quarantined - coalesce(held, 0) AS gone FROM {entries} LEFT JOIN {kept} USING (key, etag)"
        f") LEFT JOIN {new} USING (key) WHERE gone > 0",
    )
    rows = relations.table(
        "replayed",
        "SELECT e.* REPLACE (e.new + new_now AS new, duplicates + gone - new_now AS duplicates, quarantined - gone AS"
        f" quarantined) FROM {entries} e JOIN {taken} t USING (key, etag)",
    )
    left = relations.table(
        "left_over",
        f"SELECT key, n - coalesce(placed, 0) AS n FROM {new}"
        f" LEFT JOIN (SELECT key, sum(new_now)::BIGINT AS placed FROM {taken} GROUP BY 1) USING (key)"
        " WHERE n > coalesce(placed, 0)",
    )
    return rows, left


def ledger_rows(
    relations: Relations,
    ledger: Table,
    dataset: str,
    new: Relation,
    run_id: str,
    at: dt.datetime,
    *,
    rejected: Relation | None = None,
    adds: bool = True,
) -> Relation:
    """Rows for the ledger, with its columns, for lines whose own rows are lost.

    Args:
        new: (key, n) of the objects, and how many lines of each the history has and the ledger lacks.
        rejected: (key, etag, n) of objects whose rejected lines the quarantine has and the ledger lacks.
        adds: to the recovered rows that are there.
    """
    stored = _recovered(relations, ledger, dataset)
    values = [dataset, RECOVERED, run_id, at.replace(tzinfo=None)]
    others = (
        ""
        if rejected is None
        else (
            " UNION ALL BY NAME SELECT $1 AS dataset, key, etag, 0 AS size, n AS lines, 0 AS new, 0 AS duplicates,"
            f" n AS quarantined, $3 AS run_id, $4 AS loaded_at FROM {rejected}"
        )
    )
    rows = relations.table(
        "recovered_rows",
        f"SELECT $1::VARCHAR AS dataset, key, $2::VARCHAR AS etag, 0::BIGINT AS size,"
        " coalesce(r.lines, 0) + n AS lines, coalesce(r.new, 0) + n AS new, coalesce(r.duplicates, 0) AS duplicates,"
        " coalesce(r.quarantined, 0) AS quarantined, $3::VARCHAR AS run_id, $4::TIMESTAMP AS loaded_at"
        f" FROM {new} LEFT JOIN (FROM {stored} WHERE {adds}) r USING (key){others}",
        values,
    )
    empty = relations.stored("empty", ledger.schema.empty_table())
    return relations.table("recovered_rows", f"SELECT * FROM {empty} UNION ALL BY NAME SELECT * FROM {rows}")


def taken_over(relations: Relations, ledger: Table, dataset: str, entries: Relation) -> tuple[Relation, int]:
    """A batch's ledger rows with the recovered lines of their objects, and how many lines these are.

    A line of these is a duplicate in the batch, because the history has it. It becomes new again, and the recovered row
    has one line less. On a lake that was never restored this reads no row.
    """
    stored = _recovered(relations, ledger, dataset)
    if not relations.count(stored):
        return entries, 0
    moves = relations.table(
        "moves",
        f"SELECT e.key, e.etag, least(r.new, e.duplicates) AS n FROM {entries} e JOIN {stored} r USING (key)"
        " QUALIFY row_number() OVER (PARTITION BY e.key ORDER BY e.etag) = 1",
    )
    rows = relations.table(
        "ledger_entries",
        f"SELECT e.* REPLACE (e.new + coalesce(n, 0) AS new, e.duplicates - coalesce(n, 0) AS duplicates)"
        f" FROM {entries} e LEFT JOIN {moves} USING (key, etag)"
        " UNION ALL BY NAME"
        f" SELECT r.* REPLACE (r.new - n AS new, r.lines - n AS lines) FROM {stored} r JOIN {moves} USING (key)",
    )
    return rows, number(relations.con, f"SELECT sum(n) FROM {moves}")


def _recovered(relations: Relations, ledger: Table, dataset: str) -> Relation:
    where = {"dataset": dataset, "etag": RECOVERED}
    return relations.stored("recovered", ledger.scan(ledger.schema.names, where=where).batches)

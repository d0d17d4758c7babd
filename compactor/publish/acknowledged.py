"""What a person has acknowledged: objects that cannot be read, and quarantined lines that nobody can fix.

An acknowledged object is not read again, and an acknowledged line does not count as a new problem. Both stay where they
are: the object out of the ledger, the line in the quarantine. An acknowledgement names one content by its ETag, so
another delivery under the same key is not covered by it, and clears that of the object once it is loaded.
"""

from __future__ import annotations

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import ACKNOWLEDGED, FILES, QUARANTINE
from compactor.source import Hour

WHOLE_OBJECT = 0
"""The `line` of an object: lines count from 1."""
_FACTS = ("reason", "because", "run_id", "acknowledged_at")


def objects(relations: Relations, lake: Lakehouse, dataset: str) -> Relation:
    """The acknowledged objects of a dataset: (key, etag, reason, because, run_id, acknowledged_at).

    Without those that were loaded after all, and those whose key was loaded with another content since.
    """
    with Relations(relations.con) as own:
        stored = _stored(own, lake, dataset)
        whole = f"SELECT * EXCLUDE (line) FROM {stored} a WHERE line = {WHOLE_OBJECT}"
        ledger = lake.find(FILES) if own.count(stored) else None
        if ledger is None:
            return relations.table("set_aside", whole)
        loaded = ledger.scan(["key", "etag", "loaded_at"], where={"dataset": dataset}).batches
        with own.arrow("loaded_at", loaded) as rows:
            return relations.table(
                "set_aside",
                f"{whole} AND NOT EXISTS (SELECT 1 FROM {rows} l WHERE l.key = a.key"
                " AND (l.etag = a.etag OR l.loaded_at > a.acknowledged_at))",
            )


def lines(relations: Relations, lake: Lakehouse, dataset: str) -> Relation:
    """The acknowledged lines of a dataset that are in the quarantine: (key, etag, line, reason, because, …)."""
    columns = ["source_file", "etag", "source_line"]
    with Relations(relations.con) as own:
        stored = _stored(own, lake, dataset)
        quarantine = lake.find(QUARANTINE)
        if quarantine is None:
            return relations.table("set_aside_lines", f"SELECT * FROM {stored} WHERE false")
        with own.arrow("places", quarantine.scan(columns, where={"dataset": dataset}).batches) as rows:
            place = "source_file AS key, etag, source_line AS line"
            return relations.table(
                "set_aside_lines",
                f"SELECT a.* FROM {stored} a SEMI JOIN (SELECT {place} FROM {rows}) USING (key, etag, line)",
            )


def count_lines(relations: Relations, lake: Lakehouse, dataset: str, rejected: Relation, files: Relation) -> int:
    """How many rejected lines of a batch are acknowledged, by their places.

    Args:
        rejected: has (file_no, line_no).
        files: has (file_no, key, etag).
    """
    with Relations(relations.con) as own:
        place = "f.key, f.etag, r.line_no AS line"
        return number(
            own.con,
            f"SELECT count(*) FROM (SELECT {place} FROM {rejected} r JOIN {files} f USING (file_no))"
            f" SEMI JOIN {_stored(own, lake, dataset)} USING (key, etag, line)",
        )


def hours(relations: Relations, found: Relation) -> list[Hour]:
    """The hours of acknowledged objects, ascending. There is one key for each object that a person has looked at."""
    keys = relations.con.execute(f"SELECT DISTINCT key FROM {found}").fetchall()
    return sorted({hour for (key,) in keys if (hour := Hour.of_key(key))})


def _stored(relations: Relations, lake: Lakehouse, dataset: str) -> Relation:
    """All rows of a dataset. None on a lake that no run of this version has prepared."""
    table = lake.find(ACKNOWLEDGED)
    if table is None:
        columns = {"key": "VARCHAR", "etag": "VARCHAR", "line": "BIGINT"}
        facts = dict.fromkeys(_FACTS[:-1], "VARCHAR") | {_FACTS[-1]: "TIMESTAMP WITH TIME ZONE"}
        return relations.empty("acknowledged", columns | facts)
    names = ["key", "etag", "line", *_FACTS]
    return relations.stored("acknowledged", table.scan(names, where={"dataset": dataset}).batches)

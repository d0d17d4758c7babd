"""The checks of sums: objects of the ledger against rows of history and quarantine, and runs against their objects.

What is exact follows from the rules of the commit protocol, see docs/commands.md ("What `verify` proves").
"""

from __future__ import annotations

from dataclasses import dataclass

from compactor.commands.verify import remedies
from compactor.commands.verify.differences import counts
from compactor.commands.verify.finding import Finding, Outcome
from compactor.commands.verify.tables import Tables
from compactor.duck.relations import Relation, Relations
from compactor.errors import MissingTableError, UnreadableError
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.publish.intent import batch_mode
from compactor.publish.moved import moved_rows
from compactor.reports.report import Check, Repair

_SUMMED = ("lines", "new", "duplicates", "quarantined")


@dataclass(frozen=True)
class HistoryCounts:
    """The rows of a history, and their different ids."""

    rows: int
    ids: int


def history_has_new_lines(
    tables: Tables, relations: Relations, history: HistoryCounts, name: str, *, unfinished: bool
) -> Outcome[bool]:
    """Learns whether the history lacks records that the ledger counts.

    The history has as many rows as there are new lines. The rows of one object differ from its new lines only by rows
    that were replaced (see `publish.moved`), and are never more than its lines that were not quarantined.
    """
    objects = _objects(tables, relations)
    with relations.arrow("rows", tables.history.scan(["source_file"]).batches) as rows:
        held = relations.table("held", f"SELECT source_file AS key, count(*) AS held FROM {rows} GROUP BY 1")
    total, least, most = counts(
        relations.con,
        "SELECT coalesce(sum(new_total), 0)::BIGINT, coalesce(sum(new_least), 0)::BIGINT,"
        f" coalesce(sum(new_most), 0)::BIGINT FROM {objects}",
    )
    # A key can be replaced: a row does not say which of its contents it was in.
    keys = f"(SELECT key, sum(new_total) AS new, sum(accepted) AS accepted FROM {objects} GROUP BY key)"
    compared = relations.table(
        "compared",
        "SELECT key, coalesce(held, 0) AS held, coalesce(new, 0) AS new, coalesce(accepted, 0) AS accepted"
        f" FROM {keys} FULL JOIN {held} USING (key)",
    )
    more, fewer, beyond = counts(
        relations.con,
        "SELECT coalesce(sum(greatest(held - new, 0)), 0)::BIGINT, coalesce(sum(greatest(new - held, 0)), 0)::BIGINT,"
        f" count(*) FILTER (held > accepted) FROM {compared}",
    )
    allowed = moved_rows(tables.history)
    wrong = beyond > 0 or (allowed is not None and max(more, fewer) > allowed)
    ok = history.rows == total and not wrong
    detail = f"{history.rows} rows, {total} new lines"
    if not ok and (more or fewer):
        condition = "held > accepted" if beyond else "held <> new"
        detail += f"; {_such_as(relations, compared, condition, 'the rows of')}"
    check = Check(name, tables.dataset.history_table, ok, detail)
    repairs: tuple[Repair, ...] = ()
    if history.ids < least:
        repairs = (remedies.lost_records(tables.dataset, least - history.ids),)
    elif history.ids > most and not unfinished:
        repairs = (remedies.foreign_records(tables.dataset, history.ids - most),)
    elif not ok and history.rows == total == least == most:
        repairs = (remedies.moved_counts(tables.dataset, more),)
    return Outcome(Finding(check, repairs), history.ids < most)


def quarantine_has_its_lines(tables: Tables, relations: Relations, name: str, *, unfinished: bool) -> Outcome[None]:
    """Compares the rows of each object with its quarantined lines. This holds exactly, also after a replay."""
    objects = _objects(tables, relations)
    where = {"dataset": tables.dataset.name}
    scan = tables.table(QUARANTINE).scan(["source_file", "etag", "source_line"], where=where)
    with relations.arrow("lines", scan.batches) as rows:
        held = relations.table(
            "held",
            "SELECT source_file AS key, etag, count(*) AS held, count(DISTINCT source_line) AS lines"
            f" FROM {rows} GROUP BY 1, 2",
        )
    compared = relations.table(
        "compared",
        "SELECT key, coalesce(held, 0) AS held, coalesce(lines, 0) AS lines, coalesce(q_total, 0) AS total,"
        " coalesce(q_least, 0) AS least, coalesce(q_most, 0) AS most"
        f" FROM {objects} FULL JOIN {held} USING (key, etag)",
    )
    kept, total, differing, lacking, surplus = counts(
        relations.con,
        "SELECT coalesce(sum(held), 0)::BIGINT, coalesce(sum(total), 0)::BIGINT, count(*) FILTER (held <> total),"
        " coalesce(sum(greatest(least - lines, 0)), 0)::BIGINT, coalesce(sum(greatest(lines - most, 0)), 0)::BIGINT"
        f" FROM {compared}",
    )
    detail = f"{kept} rows of {tables.dataset.name}, {total} quarantined lines"
    if differing:
        detail += f"; {_such_as(relations, compared, 'held <> total', 'the rows of')}"
    repairs: list[Repair] = []
    if not unfinished:
        repairs += [remedies.quarantine_sums(tables.dataset, -lacking)] if lacking else []
        repairs += [remedies.quarantine_sums(tables.dataset, surplus)] if surplus else []
    return Outcome(Finding(Check(name, QUARANTINE, not differing, detail), tuple(repairs)))


def runs_have_their_objects(tables: Tables, relations: Relations, name: str) -> Outcome[None]:
    """Compares the rows of the runs with the ledger's objects that name them.

    A run's row counts what the run has loaded, an object of the ledger names the run that loaded it. A run that was
    killed has no row; of one that failed, another run can have finished the last batch. Of an object that two runs have
    read at the same time, the ledger has one. A rollback takes objects out of the ledger, and leaves the runs. A replay
    moves lines of an object out of the quarantine, and a migration moves some into it.
    """
    dataset, where = tables.dataset, {"dataset": tables.dataset.name}
    columns = ["run_id", "verb", "started_at", "finished_at", "objects", *_SUMMED]
    table = tables.table(RUNS)
    failed = "error IS NOT NULL" if "error" in table.schema.names else "false"
    columns += ["error"] if "error" in table.schema.names else []
    with relations.arrow("runs", table.scan(columns, where=where).batches) as rows:
        runs = relations.table("runs", f"SELECT *, {failed} AS failed FROM {rows}")
    sums = ", ".join(f"sum({each})::BIGINT AS {each}" for each in _SUMMED)
    entries = tables.table(FILES).scan(["key", "etag", "run_id", *_SUMMED], where=where)
    with relations.arrow("entries", entries.batches) as rows:
        loaded = relations.table(
            "loaded",
            f"SELECT run_id, count(*) AS objects, {sums} FROM (SELECT DISTINCT * FROM {rows}) GROUP BY run_id",
        )
    exact, only_replays = _changed_by(tables)
    later = f"SELECT 1 FROM {runs} o WHERE o.finished_at >= r.started_at"
    beside = (
        f"SELECT 1 FROM {runs} o WHERE o.run_id <> r.run_id AND o.finished_at >= r.started_at"
        " AND o.started_at <= r.finished_at"
    )
    killed = f"SELECT 1 FROM {loaded} ANTI JOIN {runs} USING (run_id)"
    known = {
        "exact": f"{exact} AND NOT EXISTS ({later} AND o.verb IN ('replay', 'migrate', 'repair', 'rollback'))",
        "moved_out": f"{only_replays} AND NOT EXISTS ({later} AND o.verb IN ('migrate', 'repair', 'rollback'))",
        "fewer": f"EXISTS ({later} AND o.verb IN ('repair', 'rollback')) OR EXISTS ({beside}) OR EXISTS ({killed})",
    }
    found = ", ".join(f"coalesce(l.{each}, 0) AS l_{each}" for each in ("objects", *_SUMMED))
    judged = relations.table(
        "judged",
        f"SELECT r.*, {found}, {', '.join(f'({text}) AS {word}' for word, text in known.items())}"
        f" FROM {runs} r LEFT JOIN {loaded} l USING (run_id)",
    )
    same = " AND ".join(f"l_{each} = {each}" for each in _SUMMED)
    wrong = (
        # A replay that failed has read lines and moved none.
        "lines <> new + duplicates + quarantined AND NOT (verb = 'replay' AND new + duplicates = 0)"
        " OR verb <> 'compact' AND l_objects > 0"
        " OR verb = 'compact' AND CASE WHEN l_objects > objects OR l_lines > lines THEN NOT failed"
        " WHEN l_objects < objects THEN NOT fewer"
        " WHEN l_lines <> lines THEN true"
        f" WHEN exact THEN NOT ({same})"
        " WHEN moved_out THEN l_quarantined > quarantined OR l_new < new OR l_duplicates < duplicates"
        " ELSE false END"
    )
    rows_found, differing = counts(relations.con, f"SELECT count(*), count(*) FILTER ({wrong}) FROM {judged}")
    detail = f"{rows_found} runs of {dataset.name}"
    repairs: tuple[Repair, ...] = ()
    if differing:
        (example,) = relations.con.execute(f"SELECT min(run_id) FROM {judged} WHERE {wrong}").fetchall()[0]
        detail += f"; the counts of {differing} differ from those of their objects, such as those of {example}"
        repairs = (remedies.run_sums(dataset, differing, example),)
    return Outcome(Finding(Check(name, RUNS, not differing, detail), repairs))


def _changed_by(tables: Tables) -> tuple[str, str]:
    """SQL: whether no batch has changed the counts of earlier objects, and whether no batch but replays has."""
    modes, oldest = set(), None
    try:
        snapshots = list(tables.history.history())
    except (MissingTableError, UnreadableError):
        return "false", "false"
    for oldest in snapshots:
        modes.add(batch_mode(oldest) or "keep")
    whole = oldest is None or oldest.parent_snapshot_id is None
    exact, only_replays = whole and modes <= {"keep"}, whole and modes <= {"keep", "replace"}
    return str(exact).lower(), str(only_replays).lower()


def _objects(tables: Tables, relations: Relations) -> Relation:
    """The ledger's objects of the dataset, with their counts. An object that has several rows is one.

    If its rows disagree, any of them can be the right one: hence the least and the greatest.
    """
    columns = ["key", "etag", "new", "duplicates", "quarantined"]
    scan = tables.table(FILES).scan(columns, where={"dataset": tables.dataset.name})
    with relations.arrow("entries", scan.batches) as entries:
        return relations.table(
            "objects",
            "SELECT key, etag, sum(new) AS new_total, min(new) AS new_least, max(new) AS new_most,"
            " sum(new + duplicates) AS accepted, sum(quarantined) AS q_total, min(quarantined) AS q_least,"
            f" max(quarantined) AS q_most FROM {entries} GROUP BY key, etag",
        )


def _such_as(relations: Relations, compared: Relation, condition: str, what: str) -> str:
    """How many objects differ, and the first of them."""
    number, example = relations.con.execute(
        f"SELECT count(DISTINCT key), min(key) FROM {compared} WHERE {condition}"
    ).fetchall()[0]
    return f"{what} {number} objects differ, such as {example}"

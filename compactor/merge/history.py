"""Which records the history takes: of those with one `id`, the one with the earliest `emitted_at`.

Ties go to the smaller canonical JSON (the contract, "Which record wins"). The decision is made by set operations over
key columns: nothing here reads a source or writes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number
from compactor.merge.canonical import as_decoded, canonical
from compactor.merge.columns import record_values
from compactor.registry.dataset import Dataset

_PLACE = f"r.__file_no::BIGINT * {2**40} + r.__line_no"
"""A decoded row's file and line as one number: files have fewer than 2**40 lines."""


@dataclass(frozen=True)
class HistoryDecision:
    """What the history takes of a batch.

    Attributes:
        fresh: a view of the rows that it takes, with the record columns.
        new: those of them that are new, per file_no.
        replaced: how many of them take the place of a stored row of their id.
        replaced_ids: (id) of these.
        rewrite: the numbers of the scanned files that have these rows.
    """

    fresh: Relation
    new: Mapping[int, int]
    replaced: int
    replaced_ids: Relation
    rewrite: Sequence[int]


def decide_history(
    relations: Relations,
    dataset: Dataset,
    records: Relation,
    files: Relation,
    stored: pa.RecordBatchReader,
    stored_rows: Callable[[list[int]], pa.RecordBatchReader],
) -> HistoryDecision:
    """Decides which decoded records the history takes.

    Args:
        records: the decoded records of the batch, by their file and line (see `decode.bulk`).
        files: (file_no, key, source_file) of the batch's objects.
        stored: (id, emitted_at, __file) of the whole history.
        stored_rows: all record columns of the given files of that scan; called only where an incoming record has the
            id *and* the time of a stored one, so that their contents must be compared.
    """
    con = relations.con
    firsts = relations.table(
        "firsts",
        "SELECT id, min(emitted_at) AS emitted_at, count(*) AS n,"
        f" arg_min({_PLACE}, emitted_at) AS place FROM {records} r GROUP BY id",
    )
    with relations.arrow("stored", stored) as rows:
        known = relations.table(
            "known_ids",
            f"SELECT id, s.emitted_at::TIMESTAMP AS emitted_at, __file FROM {rows} s SEMI JOIN {firsts} USING (id)",
        )
    contested = relations.table(
        "contested",
        f"SELECT id, emitted_at FROM {firsts} WHERE n > 1"
        f" UNION SELECT id, emitted_at FROM {known} SEMI JOIN {firsts} USING (id, emitted_at)",
    )
    judged = _judge(relations, dataset, records, files, known, contested, stored_rows)
    kept = relations.table(
        "kept",
        "SELECT f.id, coalesce(j.best.place, f.place) AS place, s.id IS NOT NULL AS replaces"
        f" FROM {firsts} f LEFT JOIN {known} s USING (id) LEFT JOIN {judged} j USING (id)"
        " WHERE s.id IS NULL OR s.emitted_at > f.emitted_at OR (s.emitted_at = f.emitted_at AND NOT j.best.is_stored)",
    )
    fresh = relations.view(
        "fresh",
        f"SELECT {', '.join(record_values(dataset))}"
        # A semi join hashes the narrow side; a join might choose to hash the wide one.
        f" FROM {records} r JOIN {files} f ON r.__file_no = f.file_no SEMI JOIN {kept} ON {_PLACE} = {kept}.place",
    )
    new = con.execute(f"SELECT place // {2**40}, count(*) FROM {kept} WHERE NOT replaces GROUP BY 1").fetchall()
    replaced_ids = relations.table("replaced_ids", f"SELECT id FROM {kept} WHERE replaces")
    found = con.execute(f"SELECT DISTINCT __file FROM {known} SEMI JOIN {replaced_ids} USING (id)").fetchall()
    rewrite = sorted(each for (each,) in found)
    relations.drop(firsts, known, contested, judged)
    return HistoryDecision(fresh, dict(new), number(con, f"SELECT count(*) FROM {replaced_ids}"), replaced_ids, rewrite)


def _judge(
    relations: Relations,
    dataset: Dataset,
    records: Relation,
    files: Relation,
    known: Relation,
    contested: Relation,
    stored_rows: Callable[[list[int]], pa.RecordBatchReader],
) -> Relation:
    """Picks the smallest canonical JSON per contested id: (id, best {is_stored, place})."""

    def rank(fresh: str, key: str, line: str) -> str:
        # Of equal contents the stored one stays, so that nothing is rewritten; then any rule that never changes.
        return f"{{'text': {canonical(dataset)}, 'fresh': {fresh}, 'key': {key}, 'line': {line}}}"

    incoming = (
        f"SELECT id, {{'is_stored': false, 'place': {_PLACE}}} AS who, {rank('true', 'f.key', 'r.__line_no')} AS rank"
        f" FROM {records} r JOIN {contested} c USING (id) JOIN {files} f ON r.__file_no = f.file_no"
        " WHERE r.emitted_at = c.emitted_at"
    )
    ties = relations.con.execute(
        f"SELECT DISTINCT __file FROM {known} SEMI JOIN {contested} USING (id, emitted_at)"
    ).fetchall()
    if not ties:
        return relations.table("judged", f"SELECT id, arg_min(who, rank) AS best FROM ({incoming}) GROUP BY id")
    with relations.arrow("tied_rows", stored_rows(sorted(each for (each,) in ties))) as rows:
        tied = (
            "SELECT id, {'is_stored': true, 'place': NULL::BIGINT} AS who, "
            + rank("false", "source_file", "source_line")
            + f" AS rank FROM {as_decoded(dataset, rows)} r JOIN {contested} c USING (id)"
            + " WHERE r.emitted_at = c.emitted_at"
        )
        return relations.table(
            "judged", f"SELECT id, arg_min(who, rank) AS best FROM ({incoming} UNION ALL {tied}) GROUP BY id"
        )


def history_rows(fresh: Relation, replaced_ids: Relation | None, rewritten: Relation | None) -> str:
    """A FROM item of what goes into new history files: fresh rows, and of the rewritten files the rows that stay."""
    if rewritten is None:
        return str(fresh)
    staying = f" ANTI JOIN {replaced_ids} USING (id)" if replaced_ids else ""
    return f"(SELECT * FROM {fresh} UNION ALL BY NAME SELECT * FROM {rewritten}{staying})"

"""Which records the history takes: of those with one `id`, the one with the earliest `emitted_at`.

Ties go to the smaller canonical JSON (the contract, "Which record wins"). The decision is made by set operations over
key columns: nothing here reads a source or writes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import number, quote
from compactor.duck.taking import Numbers
from compactor.merge.canonical import as_decoded, canonical
from compactor.merge.rows import ROW, Rows
from compactor.registry.dataset import Dataset

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class HistoryDecision:
    """What the history takes of a batch.

    Attributes:
        fresh: the rows that it takes.
        new: those of them that are new, per file_no.
        replaced: how many of them take the place of a stored row of their id.
        replaced_ids: (id) of these.
        rewrite: the numbers of the scanned files that have these rows.
    """

    fresh: Rows
    new: Mapping[int, int]
    replaced: int
    replaced_ids: Relation
    rewrite: Sequence[int]


def decide_history(
    relations: Relations,
    dataset: Dataset,
    records: Rows,
    stored: pa.RecordBatchReader,
    stored_rows: Callable[[Relation], pa.RecordBatchReader],
) -> HistoryDecision:
    """Decides which decoded records the history takes.

    Args:
        records: the decoded records of the batch.
        stored: (id, emitted_at, __file, __place) of the whole history.
        stored_rows: gives all record columns of the stored rows at (__file, __place); called only where an incoming
            record has the id *and* the time of a stored one, so that their contents must be compared.
    """
    con = relations.con
    firsts = relations.table(
        "firsts",
        f"SELECT id, min(emitted_at) AS emitted_at, count(*) AS n, arg_min({ROW}, emitted_at) AS place"
        f" FROM {records.keys} GROUP BY id",
    )
    with relations.arrow("stored", stored) as rows, relations.right_side_first():
        known = relations.table(
            "known_ids",
            f"SELECT id, s.emitted_at::TIMESTAMP AS emitted_at, __file, __place FROM {rows} s"
            f" SEMI JOIN {firsts} USING (id)",
        )
    contested = relations.table(
        "contested",
        f"SELECT id, emitted_at FROM {firsts} WHERE n > 1"
        f" UNION SELECT id, emitted_at FROM {known} SEMI JOIN {firsts} USING (id, emitted_at)",
    )
    judged = _judge(relations, dataset, records, known, contested, stored_rows)
    kept = relations.table(
        "kept",
        "SELECT f.id, coalesce(j.best.place, f.place) AS place, s.id IS NOT NULL AS replaces"
        f" FROM {firsts} f LEFT JOIN {known} s USING (id) LEFT JOIN {judged} j USING (id)"
        " WHERE s.id IS NULL OR s.emitted_at > f.emitted_at OR (s.emitted_at = f.emitted_at AND NOT j.best.is_stored)",
    )
    fresh = relations.table("fresh", f"SELECT k.* FROM {records.keys} k SEMI JOIN {kept} ON {ROW} = place")
    new = con.execute(
        f"SELECT __file_no, count(*) FROM {fresh} SEMI JOIN (SELECT place FROM {kept} WHERE NOT replaces)"
        f" ON {ROW} = place GROUP BY 1"
    ).fetchall()
    replaced_ids = relations.table("replaced_ids", f"SELECT id FROM {kept} WHERE replaces")
    found = con.execute(f"SELECT DISTINCT __file FROM {known} SEMI JOIN {replaced_ids} USING (id)").fetchall()
    rewrite = sorted(each for (each,) in found)
    relations.drop(firsts, known, contested, judged)
    replaced = number(con, f"SELECT count(*) FROM {replaced_ids}")
    return HistoryDecision(Rows(records.store, fresh), dict(new), replaced, replaced_ids, rewrite)


def _judge(
    relations: Relations,
    dataset: Dataset,
    records: Rows,
    known: Relation,
    contested: Relation,
    stored_rows: Callable[[Relation], pa.RecordBatchReader],
) -> Relation:
    """Picks the row that stays of each contested id: (id, best {is_stored, place}).

    A line that is delivered again has the same columns, so a hash of these comes first. Only where hashes differ the
    canonical JSON decides.
    """
    columns = [name for name in dataset.column_names if name not in ("source_file", "source_line")]
    content = f"hash({', '.join(f'r.{quote(name)}' for name in columns)})"
    alike = _ranked(relations, dataset, records, known, contested, stored_rows, content, "UBIGINT")
    judged = relations.table(
        "judged", f"SELECT id, {_BEST}, min(content) = max(content) AS is_alike FROM {alike} GROUP BY id"
    )
    relations.drop(alike)
    differing = relations.table(
        "differing", f"SELECT c.* FROM {contested} c SEMI JOIN (SELECT id FROM {judged} WHERE NOT is_alike) USING (id)"
    )
    if relations.count(differing):
        ranked = _ranked(relations, dataset, records, known, differing, stored_rows, canonical(dataset), "VARCHAR")
        relations.con.execute(f"DELETE FROM {judged} WHERE NOT is_alike")
        relations.con.execute(f"INSERT INTO {judged} SELECT id, {_BEST}, true FROM {ranked} GROUP BY id")
        relations.drop(ranked)
    relations.drop(differing)
    return judged


# Of equal contents the stored one stays, so that nothing is rewritten; then any rule that never changes.
_BEST = (
    "arg_min({'is_stored': is_stored, 'place': place},"
    " {'content': content, 'fresh': NOT is_stored, 'key': key, 'line': line}) AS best"
)


def _ranked(
    relations: Relations,
    dataset: Dataset,
    records: Rows,
    known: Relation,
    contested: Relation,
    stored_rows: Callable[[Relation], pa.RecordBatchReader],
    content: str,
    kind: str,
) -> Relation:
    """The incoming and the stored rows of contested ids: (id, is_stored, place, content, key, line).

    Args:
        content: SQL for what they are compared by, of a row `r`; `kind` is its type.
    """
    con = relations.con
    ranked = relations.empty(
        "ranked_rows",
        {
            "id": "VARCHAR",
            "is_stored": "BOOLEAN",
            "place": "BIGINT",
            "content": kind,
            "key": "VARCHAR",
            "line": "BIGINT",
        },
    )

    def rank(rows: Relation, stored: str, place: str) -> None:
        found = f"SELECT id, {stored}, {place}, {content}, source_file, source_line FROM {as_decoded(dataset, rows)} r"
        con.execute(f"INSERT INTO {ranked} {found}")

    places = con.execute(
        f"SELECT {ROW} FROM {records.keys} SEMI JOIN {contested} USING (id, emitted_at) ORDER BY 1"
    ).to_arrow_table()
    numbers = places.column(0).to_numpy()
    if len(numbers):
        with relations.arrow("incoming", _taken(records, numbers)) as rows:
            rank(rows, "false", ROW)
    ties = relations.table(
        "ties", f"SELECT __file, __place FROM {known} SEMI JOIN {contested} USING (id, emitted_at) ORDER BY ALL"
    )
    if relations.count(ties):
        with relations.arrow("tied_rows", stored_rows(ties)) as rows:
            rank(rows, "true", "NULL")
    relations.drop(ties)
    return ranked


def _taken(records: Rows, numbers: Numbers) -> pa.RecordBatchReader:
    """Rows by their numbers, with them."""
    schema = records.store.schema.append(pa.field(ROW, pa.int64()))

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(numbers), _ROWS_AT_ONCE):
            some = numbers[start : start + _ROWS_AT_ONCE]
            yield from records.store.take(some).append_column(ROW, pa.array(some)).cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())

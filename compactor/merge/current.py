"""Which record is current: of those with one entity key the greatest (order column, `id`), unless it is a delete.

(The contract, "Which record wins".) The decision is made by set operations over key columns: nothing here reads a
source or writes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, number, quote
from compactor.registry.dataset import Dataset

_BEST_PLACE = "{'rank': b.__top.rank, 'id': b.__top.id}"


@dataclass(frozen=True)
class CurrentDecision:
    """How the current table changes.

    Attributes:
        inserted: (id) of the records that enter it.
        removed: (key columns, __file) of the rows that leave it.
        rows, dropped: how many these are.
        rewrite: the numbers of the scanned files that have rows to leave.
    """

    inserted: Relation
    removed: Relation
    rows: int
    dropped: int
    rewrite: Sequence[int]


def decide_current(
    relations: Relations,
    dataset: Dataset,
    fresh: Relation,
    current: pa.RecordBatchReader,
    deletes: Callable[[], pa.RecordBatchReader] | None,
) -> CurrentDecision:
    """Decides how new history rows change the current table.

    Args:
        fresh: `columns_for_current` of the new rows.
        current: (key columns, order column, id, __file) of the whole current table.
        deletes: (key columns, order column, id) of the delete records in history; asked for only if an incoming key
            has no current row, which can mean that a delete took it. None if no record deletes.
    """
    keys = _keys(dataset)
    best = relations.table("best", f"SELECT {keys}, max({_top(dataset)}) AS __top FROM {fresh} GROUP BY ALL")
    held = _held(relations, dataset, current, best)
    buried = ""
    if deletes and number(relations.con, f"SELECT count(*) FROM {best} ANTI JOIN {held} USING ({keys})"):
        with relations.arrow("deletes", deletes()) as rows, relations.right_side_first():
            graves = relations.table(
                "buried",
                f"SELECT {keys}, max({_place(dataset)}) AS __place FROM {rows} SEMI JOIN {best} USING ({keys})"
                " GROUP BY ALL",
            )
        buried = f" ANTI JOIN {graves} d ON {_same(dataset, 'b', 'd')} AND d.__place > {_BEST_PLACE}"
    return _decision(
        relations,
        dataset,
        held,
        # A key can have two rows if another engine wrote them. The new row must beat the greater one; both leave.
        f"SELECT b.* FROM {best} b{buried}"
        f" LEFT JOIN (SELECT {keys}, max(__place) AS __place FROM {held} GROUP BY ALL) h USING ({keys})"
        f" WHERE h.__place IS NULL OR {_BEST_PLACE} > h.__place",
    )


def derive_current(
    relations: Relations,
    dataset: Dataset,
    touched: Relation,
    current: pa.RecordBatchReader,
    history: pa.RecordBatchReader,
) -> CurrentDecision:
    """As `decide_current`, from the whole history: for when stored records were replaced, and order alone is no guide.

    Args:
        touched: (key columns) of the entities to derive.
        current: as above.
        history: `columns_for_current` of all history.
    """
    keys = _keys(dataset)
    with relations.arrow("past", history) as past, relations.right_side_first():
        ranked = relations.table(
            "ranked",
            f"SELECT {keys}, max({_top(dataset)}) AS __top FROM {past} SEMI JOIN {touched} USING ({keys}) GROUP BY ALL",
        )
    gone = "{'rank': NULL, 'id': NULL, 'gone': true}"
    best = relations.table(
        "best", f"SELECT {keys}, coalesce(__top, {gone}) AS __top FROM {touched} LEFT JOIN {ranked} USING ({keys})"
    )
    return _decision(relations, dataset, _held(relations, dataset, current, best), f"SELECT * FROM {best}")


def current_ids(dataset: Dataset, history: Relation | str) -> str:
    """The statement that gives the key and the `__id` of each current row, from `columns_for_current` of history."""
    winners = f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS __top FROM {history} GROUP BY ALL"
    return f"SELECT {_keys(dataset)}, __top.id AS __id FROM ({winners}) WHERE NOT __top.gone"


def _held(relations: Relations, dataset: Dataset, current: pa.RecordBatchReader, best: Relation) -> Relation:
    """The current rows of the keys in `best`: (key columns, __place, __file)."""
    keys = _keys(dataset)
    with relations.arrow("current_rows", current) as rows, relations.right_side_first():
        return relations.table(
            "held", f"SELECT {keys}, {_place(dataset)} AS __place, __file FROM {rows} SEMI JOIN {best} USING ({keys})"
        )


def _decision(relations: Relations, dataset: Dataset, held: Relation, winners: str) -> CurrentDecision:
    con, keys = relations.con, _keys(dataset)
    won = relations.table("winners", winners)
    removed = relations.table("removed", f"SELECT {keys}, __file FROM {held} SEMI JOIN {won} USING ({keys})")
    inserted = relations.table("inserted", f"SELECT __top.id AS id FROM {won} WHERE NOT __top.gone")
    rewrite = sorted(each for (each,) in con.execute(f"SELECT DISTINCT __file FROM {removed}").fetchall())
    return CurrentDecision(inserted, removed, relations.count(inserted), relations.count(removed), rewrite)


def _keys(dataset: Dataset) -> str:
    return ", ".join(quote(name) for name in dataset.key)


def _same(dataset: Dataset, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} = {right}.{quote(name)}" for name in dataset.key)


def _place(dataset: Dataset) -> str:
    """A record's place in its entity's order."""
    return f"{{'rank': {_order_value(dataset)}, 'id': id}}"


def _top(dataset: Dataset) -> str:
    """The same, and whether the record is a delete. `id` is unique, so the third part never decides."""
    gone = "false"
    if dataset.delete:
        gone = f"{quote(dataset.delete.column)} IN ({', '.join(map(literal, dataset.delete.values))})"
    return f"{{'rank': {_order_value(dataset)}, 'id': id, 'gone': coalesce({gone}, false)}}"


def _order_value(dataset: Dataset) -> str:
    """The order column as SQL. Timestamps have a zone in tables and none in decoded rows; both are UTC."""
    kind = next(kind for name, kind, _ in dataset.columns if name == dataset.order)
    return quote(dataset.order) + (f"::{kind.duckdb}" if kind.zoned else "")

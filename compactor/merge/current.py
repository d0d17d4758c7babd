"""Which record is current: of those with one entity key the greatest (order column, `id`), unless it is a delete."""

from __future__ import annotations

from collections.abc import Callable

import duckdb
import pyarrow as pa

from compactor.duck.sql import literal, number, quote
from compactor.merge.columns import record_columns
from compactor.registry.dataset import Dataset

_BEST_PLACE = "{'moment': b.top.moment, 'id': b.top.id}"


def plan_current(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    current: pa.RecordBatchReader,
    deletes: Callable[[], pa.RecordBatchReader] | None,
) -> tuple[int, ...]:
    """Decides how `fresh` changes the current table; returns the numbers of the scanned files to rewrite.

    Args:
        current: (key columns, order column, id, _file) of the whole current table.
        deletes: (key columns, order column, id) of the delete records in history; asked for only if an incoming key
            has no current row, which can mean that a delete took it.
    """
    _hold(con, dataset, current, f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS top FROM fresh GROUP BY ALL")
    buried = ""
    if deletes and number(con, f"SELECT count(*) FROM best ANTI JOIN held USING ({_keys(dataset)})"):
        con.register("deletes", deletes())
        con.execute(
            f"CREATE OR REPLACE TABLE buried AS SELECT {_keys(dataset)}, max({_place(dataset)}) AS place FROM deletes"
            f" SEMI JOIN best USING ({_keys(dataset)}) GROUP BY ALL"
        )
        con.unregister("deletes")
        buried = f" ANTI JOIN buried d ON {_same(dataset, 'b', 'd')} AND d.place > {_BEST_PLACE}"
    return _change(
        con,
        dataset,
        # A key can have two rows if another engine wrote them: then the greater is to be beaten, and both leave.
        f"SELECT b.* FROM best b{buried}"
        f" LEFT JOIN (SELECT {_keys(dataset)}, max(top) AS top FROM held GROUP BY ALL) h USING ({_keys(dataset)})"
        f" WHERE h.top IS NULL OR {_BEST_PLACE} > h.top",
    )


def replan_current(
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    current: pa.RecordBatchReader,
    history: pa.RecordBatchReader,
) -> tuple[int, ...]:
    """As `plan_current`, from the whole history: for when stored records were replaced, and order alone is no guide.

    Needs the table `touched` (key columns). `history` is (key columns, order, id[, delete column]) of all history.
    The caller then defines `fresh` as the history rows whose ids are in `best`.
    """
    con.register("past", history)
    best = (
        f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS top FROM past SEMI JOIN touched USING ({_keys(dataset)})"
        " GROUP BY ALL"
    )
    con.execute(f"CREATE OR REPLACE TABLE ranked AS {best}")
    con.unregister("past")
    gone = "{'moment': NULL, 'id': NULL, 'gone': true}"
    _hold(
        con,
        dataset,
        current,
        f"SELECT {_keys(dataset)}, coalesce(top, {gone}) AS top FROM touched LEFT JOIN ranked USING ({_keys(dataset)})",
    )
    return _change(con, dataset, "SELECT * FROM best")


def current_ids(dataset: Dataset, history: str) -> str:
    """The statement that gives the key and the `_id` of each current row, from all `columns_for_current` of history."""
    winners = f"SELECT {_keys(dataset)}, max({_top(dataset)}) AS top FROM {history} GROUP BY ALL"
    return f"SELECT {_keys(dataset)}, top.id AS _id FROM ({winners}) WHERE NOT top.gone"


def _hold(con: duckdb.DuckDBPyConnection, dataset: Dataset, current: pa.RecordBatchReader, best: str) -> None:
    """Makes `best` (keys, top {moment, id, gone}) and `held` (keys, top {moment, id}, _file), its current rows."""
    con.execute(f"CREATE OR REPLACE TABLE best AS {best}")
    con.register("current_rows", current)
    con.execute(
        f"CREATE OR REPLACE TABLE held AS SELECT {_keys(dataset)}, {_place(dataset)} AS top, _file FROM current_rows"
        f" SEMI JOIN best USING ({_keys(dataset)})"
    )
    con.unregister("current_rows")


def _change(con: duckdb.DuckDBPyConnection, dataset: Dataset, winners: str) -> tuple[int, ...]:
    con.execute(f"CREATE OR REPLACE TABLE winners AS {winners}")
    con.execute(
        f"CREATE OR REPLACE TABLE removed AS SELECT {_keys(dataset)}, _file FROM held"
        f" SEMI JOIN winners USING ({_keys(dataset)})"
    )
    con.execute("CREATE OR REPLACE TABLE inserted AS SELECT top.id AS id FROM winners WHERE NOT top.gone")
    return tuple(sorted(n for (n,) in con.execute("SELECT DISTINCT _file FROM removed").fetchall()))


def current_source(dataset: Dataset, *, rewritten: bool) -> str:
    """What goes into new current files: the `inserted` rows of `fresh`, and of `rewritten` the rows that stay."""
    names = ", ".join(quote(name) for name in record_columns(dataset))
    inserted = f"SELECT {names} FROM fresh SEMI JOIN inserted USING (id)"
    if not rewritten:
        return f"({inserted})"
    return f"({inserted} UNION ALL SELECT {names} FROM rewritten ANTI JOIN removed USING ({_keys(dataset)}))"


def sizes(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many rows enter and leave the current table."""
    return number(con, "SELECT count(*) FROM inserted"), number(con, "SELECT count(*) FROM removed")


def _keys(dataset: Dataset) -> str:
    return ", ".join(quote(name) for name in dataset.key)


def _same(dataset: Dataset, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} = {right}.{quote(name)}" for name in dataset.key)


def _place(dataset: Dataset) -> str:
    """A record's place in its entity's order."""
    return f"{{'moment': {quote(dataset.order)}{_untimed(dataset)}, 'id': id}}"


def _top(dataset: Dataset) -> str:
    """The same, and whether the record is a delete. `id` is unique, so the third part never decides."""
    gone = "false"
    if dataset.delete:
        gone = f"{quote(dataset.delete.column)} IN ({', '.join(map(literal, dataset.delete.values))})"
    return f"{{'moment': {quote(dataset.order)}{_untimed(dataset)}, 'id': id, 'gone': coalesce({gone}, false)}}"


def _untimed(dataset: Dataset) -> str:
    """Tables have timestamps with a zone, staged rows without: both are UTC, and compare as such."""
    kind = next(kind for name, kind, _ in dataset.columns if name == dataset.order)
    return f"::{kind.duckdb}" if kind.zoned else ""

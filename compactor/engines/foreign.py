"""Columns that another engine has added to a table, when rows of the table are written again.

A value in such a column belongs to a row of the table, by the row's key: the `id` of a record, the object of a ledger
row. It stays as long as the table has a row of that key, however often files are rewritten. New rows have NULL there,
which the writer fills in. So a current row whose entity gets a newer record has NULL: the value was of the old record.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import quote
from compactor.lake.table import DataFile, Table
from compactor.merge.rows import ROW, Rows


def with_foreign(
    relations: Relations,
    rows: Relation,
    table: Table,
    leaving: Iterable[DataFile],
    foreign: Sequence[str],
    key: Sequence[str],
) -> Relation:
    """Rows to write, with what the rows of the same key have in foreign columns of the files that leave the table.

    Args:
        rows: a relation that can be read several times, with the key columns.
        foreign: the table's foreign columns that `rows` does not have.
        key: the columns that identify a row of the table.
    """
    paths = [file.file_path for file in leaving]
    if not foreign or not paths:
        return rows
    keys = ", ".join(map(quote, key))
    # Another engine can have made duplicates of a row.
    values = ", ".join(f"any_value({quote(name)}) AS {quote(name)}" for name in foreign)
    with relations.arrow("leaving", table.scan([*key, *foreign], paths=paths).batches) as old:
        statement = f"SELECT {keys}, {values} FROM {old} SEMI JOIN {rows} USING ({keys}) GROUP BY {keys}"
        held = relations.table("foreign_values", statement)
    added = ", ".join(f"h.{quote(name)}" for name in foreign)
    return relations.view("with_foreign", f"SELECT r.*, {added} FROM {rows} r LEFT JOIN {held} h USING ({keys})")


def foreign_values(
    relations: Relations, rows: Rows, table: Table, leaving: Sequence[DataFile], foreign: Sequence[pa.Field]
) -> list[pa.ChunkedArray]:
    """What `with_foreign` gives the rows of a batch by their `id`: one value for each row of their store."""
    names = [field.name for field in foreign]
    found = with_foreign(relations, rows.keys, table, leaving, names, ["id"])
    if found is rows.keys:
        return [pa.chunked_array([pa.nulls(rows.store.num_rows, field.type)]) for field in foreign]
    listed = ", ".join(map(quote, names))
    held = relations.con.execute(f"SELECT {ROW}, {listed} FROM {found}").to_arrow_table()
    places = np.full(rows.store.num_rows, -1, np.int64)
    places[held.column(ROW).to_numpy()] = np.arange(held.num_rows)
    index = pa.array(places, mask=places < 0)
    return [held.column(field.name).cast(field.type).take(index) for field in foreign]

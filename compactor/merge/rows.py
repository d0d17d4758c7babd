"""The rows of a batch: whole in a store of Arrow data, and what decides about them in a relation of a session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from compactor.duck.relations import Relation, Relations
from compactor.duck.row_store import RowStore
from compactor.registry.dataset import Dataset
from compactor.types.field_type import FieldType

ROW = "__row"
"""The number of a row in its store."""
_KEYS_AT_ONCE = 1 << 17  # one statement for many small batches


@dataclass(frozen=True)
class Rows:
    """Some rows of a store.

    Attributes:
        store: whole rows, with the columns of the dataset's tables.
        keys: (`__row`, `key_columns`) of these rows; of decoded ones also `__file_no`.
    """

    store: RowStore
    keys: Relation


def key_columns(dataset: Dataset) -> dict[str, FieldType]:
    """The columns that decide whether and where a row is written, in the order of the table: their types."""
    layouts = [layout for layout in (dataset.history, dataset.current) if layout]
    names = {"id", "emitted_at", *dataset.key, dataset.order, *(name for layout in layouts for name in layout.sort)}
    names |= {layout.partition.column for layout in layouts if layout.partition.column}
    if dataset.delete:
        names.add(dataset.delete.column)
    return {name: kind for name, kind, _ in dataset.table_columns if name in names}


class KeyWriter:
    """Brings the keys of rows into a relation, many rows at a time."""

    def __init__(
        self, relations: Relations, dataset: Dataset, word: str, more: Sequence[tuple[str, str, pa.DataType]] = ()
    ) -> None:
        """`word`: of the relation. `more`: columns beyond those of the rows, as (name, DuckDB type, Arrow type)."""
        kinds = key_columns(dataset)
        columns = {ROW: "BIGINT", **{name: duckdb for name, duckdb, _ in more}}
        self.keys = relations.empty(word, columns | {name: kind.duckdb for name, kind in kinds.items()})
        self._relations, self._kinds = relations, kinds
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0
        self._more = [(name, arrow) for name, _, arrow in more]

    def add(self, first: int, rows: pa.RecordBatch, more: Sequence[pa.Array] = ()) -> None:
        """Adds the keys of rows that a store has from the number `first` on."""
        numbers = pa.array(np.arange(first, first + rows.num_rows))
        # Times of the tables have a zone, those of a session have none; both are UTC.
        keys = [rows.column(name).cast(kind.arrow) for name, kind in self._kinds.items()]
        added = [array.cast(kind) for array, (_, kind) in zip(more, self._more, strict=True)]
        names = [ROW, *(name for name, _ in self._more), *self._kinds]
        self._waiting.append(pa.RecordBatch.from_arrays([numbers, *added, *keys], names))
        self._rows += rows.num_rows
        if self._rows >= _KEYS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._relations.append(self.keys, pa.Table.from_batches(self._waiting))
        self._waiting, self._rows = [], 0


def rows_of(relations: Relations, dataset: Dataset, batches: Iterable[pa.RecordBatch], *, memory: int) -> Rows:
    """Rows with the columns of the dataset's tables, as the rows of a batch. `memory`: see `RowStore`."""
    schema = dataset.stored_schema
    store = RowStore.beside(relations.con, schema, memory=memory)
    writer = KeyWriter(relations, dataset, "stored_keys")
    for batch in batches:
        rows = batch.select(schema.names).cast(schema)
        writer.add(store.add(rows), rows)
    writer.flush()
    return Rows(store, writer.keys)

"""Writes rows in the order of a table's files: new rows from a store, and those that stay of files to remove.

A session sorts the keys. The rows themselves are taken from the store, and from the files as they are read from front
to back: a file that this program has written has the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import PythonUDFType

from compactor.duck.relations import Relation, Relations
from compactor.duck.row_store import RowStore, release_unused
from compactor.duck.sql import quote
from compactor.duck.taking import Taking
from compactor.engines.foreign import foreign_values
from compactor.engines.stored_rows import PLACE, FileRows, with_places
from compactor.errors import InvariantError
from compactor.lake.catalog import Lakehouse, bloom
from compactor.lake.scan import FILE_COLUMN
from compactor.lake.table import DataFile, Schema, Table
from compactor.merge.columns import partition_value
from compactor.merge.rows import ROW, Rows
from compactor.registry.dataset import Dataset, TableLayout

_BATCH_ROWS = 16_384  # whose memory the allocator uses again
_FRESH = -1  # in place of a file's number
_MOST_SPARE = 16  # stores for files that are not in order: a partition rarely has more of them
_PARTITION = "__partition"


@dataclass(frozen=True)
class Leaving:
    """The rows that leave files which are rewritten: those whose `columns` are in `keys`."""

    keys: Relation
    columns: Sequence[str]


@dataclass(frozen=True)
class Rewriting:
    """What is written into a table.

    Attributes:
        layout: of the table's files.
        fresh: the new rows.
        remove: the data files that are removed. Their rows stay, but for those that leave.
        leaving: which leave; None: none.
        schema: of the files, if it is not the table's (yet).
        values_of: more data files whose rows give new rows of the same id their values in the columns that another
            engine has added, as those of `remove` do.
    """

    layout: TableLayout
    fresh: Rows
    remove: Sequence[DataFile] = ()
    leaving: Leaving | None = None
    schema: Schema | None = None
    values_of: Sequence[DataFile] = ()


@dataclass(frozen=True)
class Order:
    """The order of the rows to write.

    Attributes:
        places: (__file, __place, __partition) of each row. New rows have no file, and the number in their store.
        files: by their numbers, the files that have rows which stay, and how many these are.
        is_exact: whether the files to remove have as many rows as they say.
    """

    places: pa.RecordBatchReader
    files: Mapping[int, tuple[DataFile, int]]
    is_exact: bool


def row_memory(lake: Lakehouse) -> int:
    """Bytes of rows that one store keeps in memory."""
    return int(lake.config.resources.memory) * 3 // 8


def write_sorted(
    lake: Lakehouse,
    con: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    table: Table,
    rewriting: Rewriting,
    expected: int | None = None,
) -> list[DataFile]:
    """Writes the rows. Nothing refers to the files yet.

    Args:
        expected: how many rows are to be written, where that is known.

    Raises InvariantError where another number of rows was written; the files are removed. Not where another engine has
    deleted rows of the files to remove.
    """
    layout = rewriting.layout
    written = {field.name for field in (rewriting.schema or table.iceberg_schema).fields}
    foreign = [
        table.schema.field(name) for name in table.foreign_columns(dataset.stored_schema.names) if name in written
    ]
    whole = pa.schema([*dataset.stored_schema, *foreign])
    with (
        Relations(con) as relations,
        bucket_function(con, dataset, table, layout) as bucket,
        table.writer(
            target_bytes=int(lake.config.tables.target_file_bytes),
            bloom_columns=bloom(dataset),
            schema=rewriting.schema,
            sorted_by=layout.sort,
        ) as writer,
    ):
        store, memory = rewriting.fresh.store, row_memory(lake)
        new = store.taking
        if foreign:
            leaving = [*rewriting.remove, *rewriting.values_of]
            values = foreign_values(relations, rewriting.fresh, table, leaving, foreign)
            new = Taking.of(pa.table([*store.table.columns, *values], schema=whole))

        def spare() -> RowStore:
            return RowStore.beside(con, whole, memory=memory // _MOST_SPARE)

        order = ordered(relations, rewriting, table, bucket, _at_once(store, memory))
        files = {number: FileRows(table, file, whole, rows, spare) for number, (file, rows) in order.files.items()}
        added = writer.write_all(gathered(order.places, new, files))
        if expected is not None and order.is_exact and writer.rows != expected:
            raise wrong_count(table, writer.rows, expected)
    release_unused()
    return added


def _at_once(store: RowStore, memory: int) -> int:
    """Rows that are gathered at once: the more the rarer a store in files is read from one end to the other."""
    return max(_BATCH_ROWS, memory // 2 // store.row_bytes) if store.is_spilled else _BATCH_ROWS


def ordered(relations: Relations, rewriting: Rewriting, table: Table, bucket: str | None, at_once: int) -> Order:
    """Sorts all rows by their keys.

    Args:
        bucket: see `bucket_function`.
        at_once: rows in a batch of places.
    """
    layout = rewriting.layout
    columns = list(dict.fromkeys([*layout.sort, *filter(None, [layout.partition.column])]))
    listed = "".join(f", {quote(name)}" for name in columns)
    rows = f"SELECT {_FRESH} AS {FILE_COLUMN}, {ROW} AS {PLACE}{listed} FROM {rewriting.fresh.keys}"
    files: dict[int, tuple[DataFile, int]] = {}
    is_exact = True
    if rewriting.remove:
        leaving = rewriting.leaving
        needed = dict.fromkeys([*columns, *(leaving.columns if leaving else ())])
        scan = table.scan(list(needed), paths=[file.file_path for file in rewriting.remove], with_file=True)
        is_exact = not scan.has_deletes
        without = f" ANTI JOIN {leaving.keys} USING ({', '.join(map(quote, leaving.columns))})" if leaving else ""
        with relations.arrow("rewritten", with_places(scan)) as stored, relations.right_side_first():
            staying = relations.table("staying_rows", f"SELECT {FILE_COLUMN}, {PLACE}{listed} FROM {stored}{without}")
        rows = f"{rows} UNION ALL BY NAME SELECT * FROM {staying}"
        counts = relations.con.execute(f"SELECT {FILE_COLUMN}, count(*) FROM {staying} GROUP BY 1").fetchall()
        files = {number: (scan.files[number], count) for number, count in counts}
    order = ", ".join([_PARTITION, *map(quote, layout.sort), FILE_COLUMN, PLACE])
    statement = (
        f"SELECT {FILE_COLUMN}, {PLACE}, {partition_value(layout.partition, bucket)} AS {_PARTITION}"
        f" FROM ({rows}) ORDER BY {order}"
    )
    return Order(relations.con.execute(statement).to_arrow_reader(at_once), files, is_exact)


def gathered(places: pa.RecordBatchReader, new: Taking, files: Mapping[int, FileRows]) -> Iterator[pa.RecordBatch]:
    """The rows of a store and of files in the order of `Order.places`, with their partition."""
    for batch in places:
        numbers, wanted = batch.column(FILE_COLUMN).to_numpy(), batch.column(PLACE).to_numpy()
        parts: list[Taking] = []
        index = np.empty(len(wanted), np.int64)
        before = 0
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            rows, first = (new, 0) if number == _FRESH else files[number].window(wanted[chosen])
            index[chosen] = wanted[chosen] + (before - first)
            before += rows.num_rows
            parts.append(rows)
        found = parts[0].joined(*parts[1:]).take(index).append_column(_PARTITION, batch.column(_PARTITION))
        yield from found.to_batches(max_chunksize=_BATCH_ROWS)


@contextmanager
def bucket_function(
    con: duckdb.DuckDBPyConnection, dataset: Dataset, table: Table, layout: TableLayout
) -> Iterator[str | None]:
    """The name of an SQL function that is Iceberg's bucket transform, while inside; None for another layout."""
    partition = layout.partition
    if partition.transform != "bucket":
        yield None
        return
    assert partition.column is not None
    assert partition.buckets is not None
    kind = next(kind for name, kind, _ in dataset.columns if name == partition.column).duckdb
    transform = table.bucket(partition.column, partition.buckets)
    name = f"bucket_{uuid4().hex}"

    def bucket(values):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  DuckDB would resolve annotations
        return transform(values)

    con.create_function(f"{name}_of_arrow", bucket, [kind], "INTEGER", type=PythonUDFType.ARROW)
    con.execute(f"CREATE TEMP MACRO {name}(value) AS {name}_of_arrow(value::{kind})")
    try:
        yield name
    finally:
        con.execute(f"DROP MACRO {name}")
        con.remove_function(f"{name}_of_arrow")


def wrong_count(table: Table, written: int, expected: int) -> InvariantError:
    return InvariantError(
        f"{table.identifier}: {written} rows written where {expected} were expected; nothing was published."
        " Run `compactor verify --repair`, which finds duplicate rows; if it finds none, this is a defect: please"
        " report it with the log of the run"
    )

"""Rows of data files by their places, read from front to back: memory holds a few batches of each file.

The place of a row is its number among the rows that a scan of its file gives, from 0 on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

import numpy as np
import pyarrow as pa

from compactor.duck.row_store import RowStore
from compactor.duck.taking import Numbers, Taking
from compactor.lake.scan import FILE_COLUMN, Scan
from compactor.lake.table import DataFile, Table

PLACE = "__place"


def with_places(scan: Scan) -> pa.RecordBatchReader:
    """The rows of a scan that has `__file`, with `__place`."""
    schema = scan.batches.schema.append(pa.field(PLACE, pa.int64()))

    def batches() -> Iterator[pa.RecordBatch]:
        file, place = -1, 0
        for batch in scan.batches:
            if not batch.num_rows:
                continue
            if batch.column(FILE_COLUMN)[0].as_py() != file:  # a batch is of one file
                file, place = batch.column(FILE_COLUMN)[0].as_py(), 0
            places = pa.array(np.arange(place, place + batch.num_rows))
            place += batch.num_rows
            yield pa.RecordBatch.from_arrays([*batch.columns, places], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


class FileRows:
    """Rows of one data file.

    They are asked for in the order of the file. Should they not be, as in a file that another engine has sorted, all
    rows go into a store, which gives them in any order.
    """

    def __init__(
        self, table: Table, file: DataFile, schema: pa.Schema, rows: int, spare: Callable[[], RowStore]
    ) -> None:
        """`schema`: of the rows. `rows`: how many are asked for in all. `spare`: makes an empty store."""
        self._table, self._file, self._schema, self._spare = table, file, schema, spare
        self._left = rows
        self._stream: Iterator[pa.RecordBatch] = iter(())
        self._held: list[pa.RecordBatch] = []
        self._first = self._end = 0  # the places that are held
        self._store: RowStore | None = None

    def window(self, places: Numbers) -> tuple[Taking, int]:
        """Rows among which those at `places` are, in the order of the file, and the place of the first one.

        The memory and the open file are given back with the last rows.
        """
        found = self._window(int(places.min()), int(places.max()))
        self._left -= len(places)
        if not self._left:
            self._stream, self._held, self._store = iter(()), [], None
        return found

    def _window(self, low: int, high: int) -> tuple[Taking, int]:
        if self._store is None and low < self._first:
            self._store = self._spare()
            for batch in self._open():
                self._store.add(batch)
        if self._store is not None:
            return Taking.of(self._store.table), 0
        if not self._end:
            self._stream = self._open()
        while self._end <= high:
            batch = next(self._stream)
            self._held.append(batch)
            self._end += batch.num_rows
        first, found = self._first, Taking.of(pa.Table.from_batches(self._held, self._schema))
        while self._held and self._first + self._held[0].num_rows <= high + 1:  # no row up to `high` is asked for again
            self._first += self._held.pop(0).num_rows
        return found, first

    def _open(self) -> Iterator[pa.RecordBatch]:
        for batch in self._table.stream(self._file):
            yield batch.select(self._schema.names).cast(self._schema)


def rows_at(
    table: Table, files: Sequence[DataFile], places: pa.RecordBatchReader, schema: pa.Schema
) -> pa.RecordBatchReader:
    """The rows at (__file, __place), which are in this order. `__file` is the position of a file in `files`."""

    def batches() -> Iterator[pa.RecordBatch]:
        for number, wanted in _by_file(places):
            first = 0
            for batch in table.stream(files[number]):
                low, high = np.searchsorted(wanted, [first, first + batch.num_rows])
                if low < high:
                    yield batch.select(schema.names).take(pa.array(wanted[low:high] - first)).cast(schema)
                first += batch.num_rows
                if high == len(wanted):
                    break

    return pa.RecordBatchReader.from_batches(schema, batches())


def _by_file(places: pa.RecordBatchReader) -> Iterator[tuple[int, Numbers]]:
    """The places of each file."""
    for number, parts in itertools.groupby(_pieces(places), key=itemgetter(0)):
        yield number, np.concatenate([part for _, part in parts])


def _pieces(places: pa.RecordBatchReader) -> Iterator[tuple[int, Numbers]]:
    for batch in places:
        numbers, wanted = (batch.column(name).to_numpy() for name in (FILE_COLUMN, PLACE))
        for number in np.unique(numbers).tolist():
            yield number, wanted[numbers == number]

"""Rows of a batch as Arrow data. Keys and times go through a session; rows are taken from here by their number.

What is past the store's share of `resources.memory` lies in Arrow IPC files of the session's spill folder, which are
read by mapping them: their pages are the system's to keep or to drop.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.int64]
_names = itertools.count(1)
_FILE_BYTES = 64 << 20  # of one spilled file, unless the share is smaller


class RowStore:
    """Rows of one schema, numbered from 0 as they are added.

    Attributes:
        schema: of the rows.
        num_rows: how many there are.
    """

    def __init__(self, schema: pa.Schema, *, memory: int, folder: Path) -> None:
        """`memory`: bytes of rows that are kept in memory. `folder`: where those past it go."""
        self.schema = schema
        self.num_rows = 0
        self._memory, self._folder = memory, folder
        self._spilled: list[pa.RecordBatch] = []
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._table: pa.Table | None = None

    @classmethod
    def beside(cls, con: duckdb.DuckDBPyConnection, schema: pa.Schema, *, memory: int) -> RowStore:
        """A store that spills where a session does."""
        ((folder,),) = con.execute("SELECT current_setting('temp_directory')").fetchall()
        return cls(schema, memory=memory, folder=Path(folder))

    @property
    def is_spilled(self) -> bool:
        """Whether rows lie in files, so that taking a few of them in any order can read much."""
        return bool(self._spilled)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in memory, on average; at least 1."""
        return max(1, int(self.table.nbytes) // max(1, self.num_rows))

    def add(self, rows: pa.RecordBatch) -> int:
        """Adds rows. Returns the number of the first one."""
        first = self.num_rows
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        self.num_rows += rows.num_rows
        self._table = None
        if self._held_bytes > self._memory:
            self._spill()
        return first

    @property
    def table(self) -> pa.Table:
        """All rows, by their numbers. Nothing is copied."""
        if self._table is None:
            self._table = pa.Table.from_batches([*self._spilled, *self._held], self.schema)
        return self._table

    def take(self, numbers: Numbers) -> pa.Table:
        """Rows by their numbers, in this order."""
        return self.table.take(pa.array(numbers))

    def _spill(self) -> None:
        """Moves the rows in memory to files. Numbers follow the order of adding, so all of them move."""
        path = self._folder / f"rows-{next(_names)}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.schema) as writer:
            for batch in _joined(self._held):
                writer.write_batch(batch)
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._spilled += [reader.get_batch(number) for number in range(reader.num_record_batches)]
        path.unlink()  # its pages stay as long as the map does
        self._held, self._held_bytes, self._table = [], 0, None


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """The same rows in batches of some size: a file with many small ones is slow to take from."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        waiting.append(batch)
        size += batch.nbytes
        if size >= _FILE_BYTES:
            yield from _one(waiting)
            waiting, size = [], 0
    if waiting:
        yield from _one(waiting)


def _one(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    found: list[pa.RecordBatch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return found

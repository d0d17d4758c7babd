"""Rows of a batch as Arrow data. Keys and times go through a session; rows are taken from here by their number.

What is past the store's share of `resources.memory` lies in Arrow IPC files of the session's spill folder, which are
read by mapping them: their pages are the system's to keep or to drop.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import duckdb
import pyarrow as pa

from compactor.duck.taking import Numbers, Taking

_names = itertools.count(1)


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
        self._taking: Taking | None = None

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
        self._table = self._taking = None
        if self._held_bytes > self._memory:
            self._spill()
        return first

    @property
    def table(self) -> pa.Table:
        """All rows, by their numbers. Nothing is copied."""
        if self._table is None:
            self._table = pa.Table.from_batches([*self._spilled, *self._held], self.schema)
        return self._table

    @property
    def taking(self) -> Taking:
        """What takes rows by their numbers."""
        if self._taking is None:
            self._taking = Taking.of(self.table)
        return self._taking

    def take(self, numbers: Numbers) -> pa.Table:
        """Rows by their numbers, in this order."""
        return self.taking.take(numbers)

    def clear(self) -> None:
        """Drops all rows."""
        self._spilled, self._held, self._held_bytes, self.num_rows = [], [], 0, 0
        self._table = self._taking = None

    def _spill(self) -> None:
        """Moves the rows in memory to files. Numbers follow the order of adding, so all of them move."""
        path = self._folder / f"rows-{next(_names)}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.schema) as writer:
            for batch in self._held:
                writer.write_batch(batch)
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        self._spilled += [reader.get_batch(number) for number in range(reader.num_record_batches)]
        path.unlink()  # its pages stay as long as the map does
        self._held, self._held_bytes = [], 0
        self._table = self._taking = None
        release_unused()


def release_unused() -> None:
    """Gives memory that Arrow's allocator keeps for later back to the system: the next step is DuckDB's."""
    pa.default_memory_pool().release_unused()

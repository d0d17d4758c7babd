"""Writes the data files of a table from a stream of sorted batches.

The producer's thread cuts the stream into row groups. Two threads encode them: each has partitions of its own, because
a file is encoded in order. Others end the files that are whole (see `uploads`). So producing, encoding and uploading
overlap, up to the last row group. Memory holds two row groups per encoder, the one that is being cut, and what waits
for the storage.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from operator import itemgetter
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.typedef import Record

from compactor.errors import UsageError
from compactor.lake.parquet import Format, OpenFile
from compactor.lake.uploads import Uploads, delete_all

ENCODERS = 2
ROW_GROUP_BYTES = 32 << 20  # in memory; 5 to 10 times less on disk
ROW_GROUP_ROWS = 100_000
PARTITION_COLUMN = "__partition"


class DataFileWriter(AbstractContextManager["DataFileWriter"]):
    """Writes record batches, ordered by partition, into few files of about `target_bytes`.

    Batches have the schema's columns in any order, plus `__partition` (the partition value, or null) when the table is
    partitioned and there is no `like`. A column that they lack is NULL in all rows: another engine has added it.
    On an exception all files written so far are removed: nothing refers to them.
    """

    def __init__(
        self,
        table: Table,
        *,
        target_bytes: int,
        bloom_columns: Sequence[str],
        schema: Schema | None = None,
        like: DataFile | None = None,
        in_order: bool = False,
    ) -> None:
        """Opens nothing yet.

        Args:
            schema: of the files, if it is not the table's (yet).
            like: the file that all rows come from, in its order. They keep its partition and its sort order.
            in_order: the rows come in the table's sort order.
        """
        self._table = table
        self._iceberg_schema = schema or table.schema()
        self._form = Format(table, self._iceberg_schema, bloom_columns)
        self.target_bytes = target_bytes
        self._partitioned = not table.spec().is_unpartitioned()
        self._locations = load_location_provider(table.location(), table.metadata.properties)
        self._run = uuid.uuid4()
        self._numbers = itertools.count()
        self._like = like
        metadata = table.metadata
        own_order = metadata.default_sort_order_id or None if in_order else None
        self.sort_order_id = like.sort_order_id if like else own_order
        self._paths: list[str] = []
        self.rows = 0
        self.files: list[DataFile] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.remove()

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> list[DataFile]:
        """Writes a whole stream and returns the files, in its order. Raises what the stream or the storage raises."""
        parts: list[_Part] = []
        try:
            with Uploads() as uploads, _Encoders() as encoders:
                for partition, runs in itertools.groupby(self._runs(batches), itemgetter(0)):
                    part = _Part(self, partition, uploads)
                    parts.append(part)
                    encoder = encoders.least_busy()
                    for group, size in _row_groups(batch for _, batch in runs):
                        encoder.submit(partial(part.write, group), size)
                    encoder.submit(part.finish)
        except BaseException:
            for part in parts:
                part.abandon()
            raise
        self.files += [file for part in parts for file in part.files]
        return self.files

    def remove(self) -> None:
        """Deletes the written files, after a commit that provably did not land."""
        delete_all(self._table.io, self._paths)

    def _runs(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Record, pa.RecordBatch]]:
        """The rows cut where their partition changes, with their partition."""
        for batch in batches:
            self.rows += batch.num_rows
            if self._like or not self._partitioned:
                yield self._like.partition if self._like else Record(), batch
                continue
            values = batch.column(batch.schema.get_field_index(PARTITION_COLUMN))
            start = 0
            for end in _run_ends(values):
                yield Record(values[start].as_py()), batch.slice(start, end - start)
                start = end

    def open_file(self, partition: Record, rows: int) -> OpenFile:
        """A new file, whose row groups have about so many rows."""
        name = f"{next(self._numbers):05d}-{self._run}.parquet"
        if self._partitioned:
            name = f"{self._table.spec().partition_to_path(partition, self._iceberg_schema)}/{name}"
        path = self._locations.new_data_location(name)
        self._paths.append(path)
        return OpenFile(self._form, path, rows)

    def as_stored(self, rows: pa.Table) -> pa.Table:
        """The rows with the columns of the files. Raises UsageError where a required one has no value."""
        for field in self._form.arrow:
            if field.name not in rows.column_names:
                rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
            if not field.nullable and (empty := rows.column(field.name).null_count):
                raise UsageError(
                    f"column '{field.name}' of table {'.'.join(self._table.name())} is required, and {empty} rows to"
                    " write have no value for it; list the field as required again, or let the column be optional"
                    " with another engine (`ALTER COLUMN … DROP NOT NULL`)"
                )
        return rows.select(self._form.arrow.names).cast(self._form.arrow)


class _Part:
    """The files of one partition's rows. One encoder calls it, row group after row group."""

    def __init__(self, writer: DataFileWriter, partition: Record, uploads: Uploads) -> None:
        self._writer = writer
        self._partition = partition
        self._uploads = uploads
        self._open: OpenFile | None = None
        self.files: list[DataFile] = []

    def write(self, group: Sequence[pa.RecordBatch]) -> None:
        rows = self._writer.as_stored(pa.Table.from_batches(group))
        if self._open is None:
            self._open = self._writer.open_file(self._partition, rows.num_rows)
        self._open.write(rows)
        if self._open.size >= self._writer.target_bytes:
            self.finish()

    def finish(self) -> None:
        """Encodes the end of the open file, if there is one, and leaves the rest to the uploads."""
        if self._open is not None:
            self.files.append(self._open.finish(self._partition, self._writer.sort_order_id))
            self._uploads.submit(self._open.size, self._open.close)
            self._open = None

    def abandon(self) -> None:
        if self._open is not None:
            self._open.abandon()


class _Encoder:
    """A thread that does what is submitted, in that order, some `ROW_GROUP_BYTES` behind at most."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "encoder")
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0

    def submit(self, step: Callable[[], None], size: int = 0) -> None:
        """Waits for room. Raises what an earlier step has raised."""
        while self._bytes > ROW_GROUP_BYTES:
            self._settle()
        self._waiting.append((self._pool.submit(step), size))
        self._bytes += size

    def waiting_bytes(self) -> int:
        """Raises what a step has raised."""
        while self._waiting and self._waiting[0][0].done():
            self._settle()
        return self._bytes

    def _settle(self) -> None:
        step, size = self._waiting.popleft()
        step.result()
        self._bytes -= size

    def end(self) -> None:
        """Waits for all steps. Raises what one of them has raised."""
        while self._waiting:
            self._settle()

    def stop(self) -> None:
        """Waits for the step that runs; the others are left out."""
        self._pool.shutdown(cancel_futures=True)


class _Encoders(AbstractContextManager["_Encoders"]):
    """Leaving it waits for all steps, unless there was an exception."""

    def __init__(self) -> None:
        self._all = [_Encoder() for _ in range(ENCODERS)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for encoder in self._all if error is None else ():
                encoder.end()
        finally:
            for encoder in self._all:
                encoder.stop()

    def least_busy(self) -> _Encoder:
        return min(self._all, key=_Encoder.waiting_bytes)


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[list[pa.RecordBatch], int]]:
    """The rows as row groups, each with its bytes in memory."""
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        most = max(1, min(ROW_GROUP_ROWS, ROW_GROUP_BYTES * batch.num_rows // max(1, batch.nbytes)))
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, min(most, ROW_GROUP_ROWS - rows))
            start += piece.num_rows
            group.append(piece)
            rows += piece.num_rows
            size += piece.nbytes
            if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                yield group, size
                group, rows, size = [], 0, 0
    if group:
        yield group, size


def _run_ends(values: pa.Array) -> list[int]:
    """Ends of the runs of equal values in an ordered array."""
    return [int(end) for end in pc.run_end_encode(values).run_ends.to_pylist()]

"""Writes the Parquet files of a table, with statistics, bloom filters and a target size, and reads one in order.

PyIceberg's own writer takes whole Arrow tables, measures size in memory instead of on disk and writes no bloom
filters. This one takes a stream of sorted batches, and starts a new file by the bytes that have reached the file.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    DataFileStatistics,
    MetricModeTypes,
    MetricsMode,
    _combine_positional_deletes,
    _get_column_projection_values,
    _to_requested_schema,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    pyarrow_to_schema,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema, prune_columns
from pyiceberg.table import Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.typedef import Record
from pyiceberg.types import DateType, TimestamptzType

from compactor.errors import UsageError
from compactor.lake import content

ROW_GROUP_BYTES = 64 << 20  # in memory; 5 to 10 times less on disk
PARTITION_COLUMN = "__partition"
_READ_ROWS = 16_384


def arrow_schema(schema: Schema) -> pa.Schema:
    """A table's Arrow schema with field ids, and with 32-bit offsets as in DuckDB's batches: no copy is made."""
    return pa.schema([_small(field) for field in schema_to_pyarrow(schema, include_field_ids=True)])


def rows_schema(schema: Schema) -> pa.Schema:
    """The same for rows on their way through a session: without field ids, and a UUID as its 16 bytes."""
    return pa.schema([(field.name, _small(field, uuids=False).type) for field in arrow_schema(schema)])


def _small(field: pa.Field, *, uuids: bool = True) -> pa.Field:
    kind = field.type

    def inner(part: pa.Field) -> pa.Field:
        return _small(part, uuids=uuids)

    if pa.types.is_large_string(kind):
        kind = pa.string()
    elif pa.types.is_large_binary(kind):
        kind = pa.binary()
    elif isinstance(kind, pa.UuidType) and not uuids:
        kind = kind.storage_type
    elif pa.types.is_map(kind):
        kind = pa.map_(inner(kind.key_field), inner(kind.item_field))
    elif pa.types.is_large_list(kind) or pa.types.is_list(kind):
        kind = pa.list_(inner(kind.value_field))
    elif pa.types.is_struct(kind):
        kind = pa.struct([inner(kind.field(number)) for number in range(kind.num_fields)])
    return pa.field(field.name, kind, field.nullable, field.metadata)


def by_row_group(table: Table, file: DataFile, deleted: list[pa.ChunkedArray] | None) -> Iterator[pa.RecordBatch]:
    """A file's rows in order, with the table's columns of today, without the rows at the positions `deleted`.

    The library's own reader decodes some two million rows ahead, which takes most of a gigabyte if the rows are wide.
    """
    schema, metadata = table.schema(), table.metadata
    with table.io.new_input(file.file_path).open() as stream:
        # Checked, because what is read here is written again: a flipped byte would look sound from then on.
        parquet = pq.ParquetFile(stream, pre_buffer=True, page_checksum_verification=True)
        present = pyarrow_to_schema(
            parquet.schema_arrow,
            metadata.name_mapping(),
            downcast_ns_timestamp_to_us=True,
            format_version=metadata.format_version,
        )
        leaves = {number for number in schema.field_ids if schema.find_type(number).is_primitive}
        read = prune_columns(present, leaves, select_full_types=False)
        spec = metadata.specs().get(file.spec_id)
        missing = _get_column_projection_values(file, schema, schema, spec, present.field_ids)
        start = 0
        for group in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(
                _READ_ROWS, row_groups=[group], columns=[field.name for field in read.fields]
            ):
                end = start + batch.num_rows
                left = batch.take(_combine_positional_deletes(deleted, start, end)) if deleted else batch
                start = end
                if left.num_rows:
                    yield _to_requested_schema(
                        schema,
                        read,
                        left,
                        downcast_ns_timestamp_to_us=True,
                        projected_missing_fields=missing,
                        allow_timestamp_tz_mismatch=True,
                    )


class DataFileWriter(AbstractContextManager["DataFileWriter"]):
    """Writes record batches, ordered by partition, into few files of about `target_bytes`.

    Batches have the schema's columns in any order, plus `__partition` (the partition value, or null) when the table is
    partitioned and there is no `like`. A column that they lack is NULL in all rows: another engine has added it.
    Encoding runs in a second thread, so that it overlaps with the work of the
    producer. On an exception all files written so far are removed: nothing refers to them.
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
        self._schema = arrow_schema(self._iceberg_schema)
        self._target_bytes = target_bytes
        self._bloom_columns = bloom_columns
        self._partitioned = not table.spec().is_unpartitioned()
        self._locations = load_location_provider(table.location(), table.metadata.properties)
        self._run = uuid.uuid4()
        self._open: _OpenFile | None = None
        self._like = like
        self._partition: Record | None = None
        metadata = table.metadata
        own_order = metadata.default_sort_order_id or None if in_order else None
        self._sort_order_id = like.sort_order_id if like else own_order
        self._pending: list[pa.RecordBatch] = []
        self._pending_bytes = 0
        self._rows = 0
        self._paths: list[str] = []
        self.files: list[DataFile] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            if self._open:
                self._open.abandon()
            self.remove()

    def write_all(self, batches: Iterable[pa.RecordBatch]) -> list[DataFile]:
        """Writes a whole stream and returns the files. Raises what the stream or the storage raises."""
        _encode_apart(batches, self._write)
        self._close_file()
        return self.files

    def remove(self) -> None:
        """Deletes the written files, after a commit that provably did not land."""
        for path in self._paths:
            try:
                self._table.io.delete(path)
            except OSError:
                continue  # an orphan costs storage, not correctness

    @property
    def rows(self) -> int:
        return self._rows

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._like or not self._partitioned:
            self._add(batch, self._like.partition if self._like else Record())
            return
        values = batch.column(batch.schema.get_field_index(PARTITION_COLUMN))
        start = 0
        for run_end in _run_ends(values):
            self._add(batch.slice(start, run_end - start), Record(values[start].as_py()))
            start = run_end

    def _add(self, batch: pa.RecordBatch, partition: Record) -> None:
        if partition != self._partition:
            self._close_file()
            self._partition = partition
        self._pending.append(batch)
        self._pending_bytes += batch.nbytes
        self._rows += batch.num_rows
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        table = self._as_stored(pa.Table.from_batches(self._pending)).combine_chunks()
        self._pending, self._pending_bytes = [], 0
        if self._open is None:
            path = self._path()
            self._paths.append(path)
            self._open = _OpenFile(self._table, path, self._iceberg_schema, self._bloom_columns, table.num_rows)
        self._open.write(table)
        if self._open.size >= self._target_bytes:
            self._finish()

    def _as_stored(self, rows: pa.Table) -> pa.Table:
        """The rows with the columns of the files. Raises UsageError where a required one has no value."""
        for field in self._schema:
            if field.name not in rows.column_names:
                rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
            if not field.nullable and (empty := rows.column(field.name).null_count):
                raise UsageError(
                    f"column '{field.name}' of table {'.'.join(self._table.name())} is required, and {empty} rows to"
                    " write have no value for it; list the field as required again, or let the column be optional"
                    " with another engine (`ALTER COLUMN … DROP NOT NULL`)"
                )
        return rows.select(self._schema.names).cast(self._schema)

    def _close_file(self) -> None:
        self._flush()
        self._finish()

    def _finish(self) -> None:
        if self._open:
            assert self._partition is not None
            self.files.append(self._open.finish(self._partition, self._sort_order_id))
            self._open = None

    def _path(self) -> str:
        name = f"{len(self._paths):05d}-{self._run}.parquet"
        if self._partitioned:
            assert self._partition is not None
            folder = self._table.spec().partition_to_path(self._partition, self._iceberg_schema)
            name = f"{folder}/{name}"
        return self._locations.new_data_location(name)


class _OpenFile:
    """One Parquet file being written. Each call of `write` makes one row group."""

    def __init__(self, table: Table, path: str, schema: Schema, bloom: Sequence[str], rows: int) -> None:
        self._table = table
        self._schema = schema
        self._path = path
        self._output = table.io.new_output(path)
        self._sink, self._hashing = content.sink(self._output.create(overwrite=True))
        level = int(table.metadata.properties.get("write.parquet.compression-level", "3"))
        self._writer = pq.ParquetWriter(
            self._sink,
            arrow_schema(schema),
            compression="zstd",
            compression_level=level,
            bloom_filter_options={column: {"ndv": max(rows, 1), "fpp": 0.01} for column in bloom},
            store_schema=False,
            write_page_checksum=True,
        )

    @property
    def size(self) -> int:
        return self._hashing.tell()

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))

    def finish(self, partition: Record, sort_order_id: int | None) -> DataFile:
        self._writer.close()
        size = self.size
        self._sink.close()
        metadata = self._table.metadata
        statistics = self._statistics()
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=self._path,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=size,
            sort_order_id=sort_order_id,
            spec_id=metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )
        content.attach(file, self._hashing.hash)
        return file

    def _statistics(self) -> DataFileStatistics:
        plan = compute_statistics_plan(self._schema, self._table.metadata.properties)
        paths, written = parquet_path_to_id_mapping(self._schema), self._writer.writer.metadata
        try:
            return data_file_statistics_from_parquet_metadata(written, plan, paths)
        except OverflowError:
            # Another engine has written a date that Python cannot hold. Columns of times get no bounds in this file.
            counts = MetricsMode(MetricModeTypes.COUNTS)
            times = [
                number for number, each in plan.items() if isinstance(each.iceberg_type, (DateType, TimestamptzType))
            ]
            plan |= {number: dataclasses.replace(plan[number], mode=counts) for number in times}
            return data_file_statistics_from_parquet_metadata(written, plan, paths)

    def abandon(self) -> None:
        try:
            self._sink.close()
        except OSError:
            pass  # the file is about to be deleted


def _run_ends(values: pa.Array) -> list[int]:
    """Ends of the runs of equal values in an ordered array."""
    return [int(end) for end in pc.run_end_encode(values).run_ends.to_pylist()]


def _encode_apart(batches: Iterable[pa.RecordBatch], encode: Callable[[pa.RecordBatch], None]) -> None:
    """Runs `encode` on each batch in a second thread, at most two batches behind the producer."""
    waiting: queue.Queue[pa.RecordBatch | None] = queue.Queue(2)
    failure: list[BaseException] = []

    def work() -> None:
        while (batch := waiting.get()) is not None:
            if failure:
                continue  # drain, so that the producer never blocks
            try:
                encode(batch)
            except BaseException as error:  # noqa: BLE001  raised again below, in the caller's thread
                failure.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for batch in batches:
            waiting.put(batch)
            if failure:
                break
    finally:
        waiting.put(None)
        thread.join()
    if failure:
        raise failure[0]

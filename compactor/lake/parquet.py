"""Encodes one Parquet file of a table: its schema, encodings, statistics and bloom filters.

PyIceberg's own writer takes whole Arrow tables, measures size in memory instead of on disk and writes no bloom
filters. This one takes row groups, and knows how many bytes they came to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    DataFileStatistics,
    MetricModeTypes,
    MetricsMode,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import DateType, TimestamptzType

from compactor.lake import content
from compactor.lake.uploads import LateFile


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


class OpenFile:
    """One Parquet file being written. Each call of `write` makes one row group. `close` ends it, from any thread."""

    def __init__(self, table: Table, path: str, schema: Schema, bloom: Sequence[str], rows: int) -> None:
        self._table = table
        self._schema = schema
        self._path = path
        output = table.io.new_output(path)
        self._late = LateFile(lambda: output.create(overwrite=True))
        self._sink, self._hashing = content.sink(self._late)
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
        """Encodes the end of the file. Nothing but `close` is missing then."""
        self._writer.close()
        metadata = self._table.metadata
        statistics = self._statistics()
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=self._path,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=self.size,
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

    def close(self) -> None:
        """Returns when the storage has the whole file."""
        self._sink.close()

    def abandon(self) -> None:
        """Closes what is open of a file that is about to be deleted."""
        self._late.abandon()
        self._sink.close()

"""Encodes one Parquet file of a table: its schema, encodings, statistics and bloom filters.

PyIceberg's own writer takes whole Arrow tables, measures size in memory instead of on disk and writes no bloom
filters. This one takes row groups, and knows how many bytes they came to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence

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

COMPRESSION_LEVEL = 1
"""Of zstd, where the table's property `write.parquet.compression-level` says nothing."""


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


def dictionary_paths(paths: Iterable[str], schema: pa.Schema, unique: Collection[str]) -> list[str]:
    """The leaves that get a dictionary: where values repeat. Times, numbers and the columns `unique` stay plain.

    `scripts/bench_layout.py` measures it. Delta encodings would make files some 5% smaller, but older versions of
    Iceberg's vectorized reader in Spark refuse them: a table would need a setting to be read.

    Args:
        paths: of leaves, as Parquet names them: "traits.key_value.key".
    """
    plain = {field.name for field in schema if field.name in unique or not _repeats(field.type)}
    return [path for path in paths if path not in plain]


def _repeats(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_binary, pa.types.is_date, pa.types.is_nested))


class Format:
    """What all files of a writer have in common."""

    def __init__(self, table: Table, schema: Schema, bloom: Sequence[str]) -> None:
        """`bloom`: the columns of look-ups, which get bloom filters."""
        properties = table.metadata.properties
        self.table = table
        self.arrow = arrow_schema(schema)
        self.bloom = bloom
        self.level = int(properties.get("write.parquet.compression-level", COMPRESSION_LEVEL))
        self.paths = parquet_path_to_id_mapping(schema)
        self.dictionary = dictionary_paths(self.paths, self.arrow, bloom)
        self.statistics = compute_statistics_plan(schema, properties)

    def statistics_of(self, written: pq.FileMetaData) -> DataFileStatistics:
        """What a file's footer says of its columns."""
        try:
            return data_file_statistics_from_parquet_metadata(written, self.statistics, self.paths)
        except OverflowError:
            # Another engine has written a date that Python cannot hold. Columns of times get no bounds in this file.
            counts = MetricsMode(MetricModeTypes.COUNTS)
            plan = {
                number: dataclasses.replace(each, mode=counts)
                if isinstance(each.iceberg_type, (DateType, TimestamptzType))
                else each
                for number, each in self.statistics.items()
            }
            return data_file_statistics_from_parquet_metadata(written, plan, self.paths)


class OpenFile:
    """One Parquet file being written. Each call of `write` makes one row group. `close` ends it, from any thread."""

    def __init__(self, form: Format, path: str, rows: int) -> None:
        """`rows`: about so many rows a row group."""
        self._form = form
        self._path = path
        output = form.table.io.new_output(path)
        self._late = LateFile(lambda: output.create(overwrite=True))
        self._sink, self._hashing = content.sink(self._late)
        self._writer = pq.ParquetWriter(
            self._sink,
            form.arrow,
            compression="zstd",
            compression_level=form.level,
            use_dictionary=form.dictionary,
            bloom_filter_options={column: {"ndv": max(rows, 1), "fpp": 0.01} for column in form.bloom},
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
        statistics = self._form.statistics_of(self._writer.writer.metadata)
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=self._path,
            file_format=FileFormat.PARQUET,
            partition=partition,
            file_size_in_bytes=self.size,
            sort_order_id=sort_order_id,
            spec_id=self._form.table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )
        content.attach(file, self._hashing.hash)
        return file

    def close(self) -> None:
        """Returns when the storage has the whole file."""
        self._sink.close()

    def abandon(self) -> None:
        """Closes what is open of a file that is about to be deleted."""
        self._late.abandon()
        self._sink.close()

"""Reads one Parquet file of a table in order, a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    _combine_positional_deletes,
    _get_column_projection_values,
    _to_requested_schema,
    pyarrow_to_schema,
)
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema, prune_columns
from pyiceberg.table import Table

_READ_ROWS = 16_384


def by_row_group(
    table: Table, file: DataFile, deleted: list[pa.ChunkedArray] | None, schema: Schema
) -> Iterator[pa.RecordBatch]:
    """A file's rows in order, with the columns of `schema`, without the rows at the positions `deleted`.

    The library's own reader decodes some two million rows ahead, which takes most of a gigabyte if the rows are wide.

    Args:
        schema: columns of the table's schema of today.
    """
    metadata = table.metadata
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
        missing = _get_column_projection_values(file, schema, table.schema(), spec, present.field_ids)
        names = [field.name for field in read.fields]
        start = 0
        for group in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(_READ_ROWS, row_groups=[group], columns=names):
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

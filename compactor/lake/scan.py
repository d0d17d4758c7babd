"""Streams rows of data files: the scans of `Table`.

PyIceberg's public reader loads each file whole. These read its inner generator, or one row group at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThanOrEqual, In, NotNull
from pyiceberg.io.pyarrow import ArrowScan, _read_all_delete_files
from pyiceberg.manifest import DataFile
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from compactor.errors import CompactorError
from compactor.lake import outside, small_files, unreadable
from compactor.lake.ahead import in_order
from compactor.lake.parquet import rows_schema
from compactor.lake.row_groups import by_row_group

FILE_COLUMN = "__file"


@dataclass(frozen=True)
class Scan:
    """A stream of rows.

    Attributes:
        batches: the columns asked for and, where asked for, `__file` int32: the position of the row's file in `files`.
        files: the data files that are read.
        has_deletes: another engine has deleted rows by position, so `files` have more rows than the stream.
    """

    batches: pa.RecordBatchReader
    files: Sequence[DataFile]
    has_deletes: bool = False


def row_filter(
    where: Mapping[str, Sequence[str] | str], filled: Sequence[str] = (), *, at_least: Mapping[str, str] | None = None
) -> BooleanExpression:
    """The rows whose column is the value, or one of the values, for all columns of `where`.

    With `filled`, only those that have a value in these columns; with `at_least`, only those with no smaller one.
    """
    found: BooleanExpression = AlwaysTrue()
    for name, value in where.items():
        equal = EqualTo(term=name, value=value) if isinstance(value, str) else In(term=name, literals=value)
        found = And(found, equal)
    for name in filled:
        found = And(found, NotNull(term=name))
    for name, least in (at_least or {}).items():
        found = And(found, GreaterThanOrEqual(term=name, value=least))
    return found


def scan_tasks(
    table: IcebergTable,
    columns: Sequence[str],
    tasks: Sequence[FileScanTask],
    rows: BooleanExpression | None = None,
    *,
    with_file: bool = False,
    ahead: bool = True,
) -> Scan:
    """Streams columns of the files of `tasks`, in the order of the tasks. The next files are read ahead if small.

    Args:
        rows: only these rows. Default: all.
        with_file: adds the column `__file`.
        ahead: read far ahead, which is faster, and takes the more memory the larger the files are. Else one row group
            of a file at a time, whose pages' checksums are checked; only Parquet, and without `rows`.

    Raises CompactorError where the table does not have a column (any more).
    """
    for name in columns:
        if name not in table.schema().column_names:
            gone = outside.absent(table, name) or f"table {'.'.join(table.name())} has no column '{name}'"
            raise CompactorError(gone)
    schema = table.schema().select(*columns)
    kinds = {field.name: field.type for field in rows_schema(schema)}
    fields = [pa.field(name, kinds[name]) for name in columns]
    shown = pa.schema([*fields, pa.field(FILE_COLUMN, pa.int32())] if with_file else fields)
    reader = ArrowScan(table.metadata, table.io, schema, AlwaysTrue() if rows is None else rows)
    deletes = _read_all_delete_files(table.io, list(tasks))

    def of_file(task: FileScanTask) -> Iterator[pa.RecordBatch]:
        with unreadable.data_file(table, task.file.file_path):
            whole = small_files.read(table, schema, task, rows) if ahead else None
            if whole is not None:
                yield from whole.to_batches()
            elif ahead:
                yield from reader._record_batches_from_scan_tasks_and_deletes([task], deletes)
            else:
                yield from by_row_group(table, task.file, deletes.get(task.file.file_path), schema)

    def batches() -> Iterator[pa.RecordBatch]:
        streams = [(task.file.file_size_in_bytes, partial(of_file, task)) for task in tasks]
        with closing(in_order(streams)) as found:
            for number, batch in found:
                arrays = [batch.column(name) for name in columns]
                arrays = [
                    array if array.type == field.type else array.cast(field.type)
                    for array, field in zip(arrays, fields, strict=True)
                ]
                if with_file:
                    arrays.append(pa.repeat(pa.scalar(number, pa.int32()), batch.num_rows))
                yield pa.RecordBatch.from_arrays(arrays, schema=shown)

    return Scan(pa.RecordBatchReader.from_batches(shown, batches()), [task.file for task in tasks], bool(deletes))

"""Reads small data files whole, with one request each.

The library's reader resolves the schema of each file and sets up a scan of it, which takes ten times as long as to read
a file of some hundred rows. The program's own tables have many of these. Here a file is read whose columns are the
table's, by their field ids; any other is left to the library.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.expressions.visitors import bind, extract_field_ids
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.manifest import FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

MOST_BYTES = 1 << 20
"""Of a file that is read whole."""
_FIELD_ID = b"PARQUET:field_id"


def read(table: IcebergTable, columns: Schema, task: FileScanTask, rows: BooleanExpression | None) -> pa.Table | None:
    """Columns of a data file, of the rows that `rows` takes. None for a file that is left to the library.

    Args:
        columns: the part of the table's schema that is read.
        rows: only these rows. None: all.
    """
    file = task.file
    if file.file_size_in_bytes > MOST_BYTES or file.file_format != FileFormat.PARQUET or task.delete_files:
        return None
    chosen, ids = None, set(columns.field_ids)
    if rows is not None and not isinstance(rows, AlwaysTrue):
        bound = bind(table.schema(), rows, case_sensitive=True)
        chosen, ids = expression_to_pyarrow(bound, table.schema()), ids | extract_field_ids(bound)
    if not all(table.schema().find_type(number).is_primitive for number in ids):
        return None
    names = {str(number): table.schema().find_column_name(number) for number in ids}
    with table.io.new_input(file.file_path).open() as stream:
        parquet = pq.ParquetFile(pa.BufferReader(stream.read()))
    present = {(each.metadata or {}).get(_FIELD_ID, b"").decode(): each.name for each in parquet.schema_arrow}
    if any(present.get(number) != name for number, name in names.items()):
        return None  # written before a column was added or renamed
    found = parquet.read([name for name in names.values() if name], use_threads=False)
    found = found if chosen is None else found.filter(chosen)
    return found.select([field.name for field in columns.fields])

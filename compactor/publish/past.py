"""The program's own tables as they were when they were tagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from compactor.duck.relations import Relations
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.lake.table import Table


def scan(table: Table, columns: Sequence[str], where: Mapping[str, str], tag: str) -> pa.RecordBatchReader:
    """Columns of a table as it was when it was tagged. No rows where it had none, or was never tagged so."""
    snapshot_id = table.tagged(tag)
    if snapshot_id is None:
        return pa.RecordBatchReader.from_batches(pa.schema([table.schema.field(name) for name in columns]), [])
    return table.scan(columns, where=where, snapshot_id=snapshot_id).batches


def loaded_since(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: str, tag: str) -> tuple[int, int, int]:
    """What was loaded since a tag: the number of objects, and of their lines and new records."""
    table, columns, where = lake.table(FILES), ["key", "etag", "lines", "new"], {"dataset": dataset}
    with Relations(con) as relations:
        now = relations.stored("ledger_now", table.scan(columns, where=where).batches)
        then = relations.stored("ledger_then", scan(table, columns, where, tag))
        found = con.execute(
            "SELECT count(*), coalesce(sum(lines), 0), coalesce(sum(new), 0)"
            f" FROM {now} ANTI JOIN {then} USING (key, etag)"
        ).fetchall()[0]
    return int(found[0]), int(found[1]), int(found[2])

"""Changes of columns that tests apply to a table, and the rows that they expect."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from compactor.lake.rewrite import rewrite
from compactor.lake.schema_change import TargetColumn, evolved_schema
from compactor.lake.table import DataFile, Schema, Table
from compactor.lake.table_changes import change_columns
from compactor.types.field_type import LONG, STRING, decimal
from tests.support.warehouse import Row, columns, new

RENAMED = columns(
    visits=TargetColumn("visits", LONG, False, "visits"),  # no longer required
    tier=TargetColumn("level", STRING, False, "tier"),
    spend=TargetColumn("spend", decimal(12, 2), False, "spend"),
    score=new("score", "double"),
    device=new("device", "map"),
)


RETYPED = columns(joined_at=new("joined_at", "timestamp"))


def reshape(
    table: Table,
    target: list[TargetColumn],
    commit_id: str = "change",
    *,
    add: list[DataFile] | None = None,
    remove: list[DataFile] | None = None,
    **properties: str | None,
) -> int | None:
    return change_columns(
        table,
        evolved_schema(table, target),
        add or [],
        remove or [],
        properties=properties,
        summary={"compactor.verb": "migrate"},
        commit_id=commit_id,
    )


def renamed(row: Row) -> Row:
    changed = {"level" if name == "tier" else name: value for name, value in row.items()}
    return {**changed, "score": None, "device": None}


def parsed(row: Row) -> Row:
    day = row["joined_at"] and datetime.fromisoformat(row["joined_at"]).replace(tzinfo=UTC)
    return {**row, "joined_at": day}


def by_sql(con: duckdb.DuckDBPyConnection, sql: str) -> Callable[[pa.RecordBatchReader], pa.RecordBatchReader]:
    def transform(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        con.execute("SET preserve_insertion_order = true")
        con.execute("SET TimeZone = 'UTC'")
        con.register("old", reader)
        return con.execute(sql).to_arrow_reader(1000)

    return transform


PARSE = "SELECT * REPLACE (CAST(joined_at AS TIMESTAMPTZ) AS joined_at) FROM old"


def rewritten(
    table: Table, schema: Schema, transform: Callable[[pa.RecordBatchReader], pa.RecordBatchReader], **options: Any
) -> list[DataFile]:
    given: dict[str, Any] = {
        "target_bytes": 1 << 30,
        "bloom_columns": ["id"],
        "on_progress": lambda _files, _rows: None,
    }
    return rewrite(table, schema, table.files, transform, **{**given, **options})

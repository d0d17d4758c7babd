"""Daft: `read_iceberg` of a table that its own PyIceberg opens by a metadata file. See `frame.py`."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import daft
from daft.io.iceberg.iceberg_scan import IcebergDataSource
from pyiceberg.table import StaticTable

from tests.engines.workers.answers import pairs_as_map, serve
from tests.engines.workers.frame import Request

OPERATORS = {"=": operator.eq, "<": operator.lt, ">=": operator.ge}

tasks: list[Any] = []
planned = IcebergDataSource._create_regular_tasks


def counted(self: Any, pushdowns: Any) -> Iterator[Any]:
    for task in planned(self, pushdowns):
        tasks.append(task)
        yield task


IcebergDataSource._create_regular_tasks = counted


def handle(message: dict[str, Any]) -> dict[str, Any]:
    request = Request(**message)
    table = StaticTable.from_metadata(request.metadata)
    frame = daft.read_iceberg(table, snapshot_id=request.snapshot, tag=request.tag)
    for column, name, value in request.where:
        frame = frame.where(OPERATORS[name](daft.col(column), daft.lit(value)))
    if request.what == "files":  # its plan names none: each is a task of its scan
        tasks.clear()
        frame.collect()
        return {"files": len(tasks)}
    if request.what == "extremes":
        column = daft.col(request.column)
        found = frame.agg(column.count().alias("n"), column.min().alias("a"), column.max().alias("b")).to_pylist()[0]
        return {"row": [found["n"], found["a"], found["b"]]}
    if request.what == "entries":
        found = frame.select(daft.col("id"), daft.col(request.column).map_get(request.key).alias("value")).to_pylist()
        return {"rows": [[row["id"], row["value"]] for row in found]}
    names = frame.column_names
    maps = {field.name for field in frame.schema() if str(field.dtype).startswith("Map")}
    rows = [[pairs_as_map(row[name]) if name in maps else row[name] for name in names] for row in frame.to_pylist()]
    return {"names": names, "types": [str(field.dtype) for field in frame.schema()], "rows": rows}


if __name__ == "__main__":
    serve(handle)

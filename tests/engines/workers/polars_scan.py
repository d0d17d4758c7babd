"""Polars: `scan_iceberg` of a metadata file. See `frame.py` for what is asked."""

from __future__ import annotations

import operator
import re
from typing import Any

import polars as pl

from tests.engines.workers.answers import serve
from tests.engines.workers.frame import Request

OPERATORS = {"=": operator.eq, "<": operator.lt, ">=": operator.ge}


def handle(message: dict[str, Any]) -> dict[str, Any]:
    request = Request(**message)
    at: dict[str, Any] = {"snapshot_id": request.snapshot} if request.tag is None else {"tag": request.tag}
    frame = pl.scan_iceberg(request.metadata, **at)
    for column, name, value in request.where:
        frame = frame.filter(OPERATORS[name](pl.col(column), pl.lit(value)))
    if request.what == "files":
        # The plan names the first file, and how many others.
        plan = frame.explain()
        scans = re.findall(r"SCAN \[(.*?)(?:, \.\.\. (\d+) other sources?)?\]", plan)
        return {"files": sum(bool(first) + first.count(", ") + int(others or 0) for first, others in scans)}
    if request.what == "extremes":
        column = pl.col(request.column)
        found = frame.select(column.count().alias("n"), column.min().alias("a"), column.max().alias("b")).collect()
        return {"row": list(found.row(0))}
    if request.what == "entries":
        found = frame.select("id", pl.col(request.column).map.get(request.key)).collect()
        return {"rows": [list(row) for row in found.rows()]}
    found = frame.collect()
    return {
        "names": found.columns,
        "types": [str(kind) for kind in found.dtypes],
        "rows": [list(row) for row in found.rows()],
    }


if __name__ == "__main__":
    serve(handle)

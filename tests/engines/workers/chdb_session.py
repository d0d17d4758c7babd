"""chDB: SQL of ClickHouse, answered as Arrow. {"sql": "..."} asks; "files" as in spark.py, by the engine's counter."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from chdb import session

from tests.engines.workers.answers import pairs_as_map, serve

chdb = session.Session()
SETTINGS = "session_timezone = 'UTC', output_format_arrow_string_as_string = 1"


def arrow(sql: str, settings: str = "") -> pa.Table:
    return pa.ipc.open_file(io.BytesIO(chdb.query(f"{sql} SETTINGS {settings}{SETTINGS}", "Arrow").bytes())).read_all()


def files_read() -> int:
    found = chdb.query("SELECT value FROM system.events WHERE event = 'EngineFileLikeReadFiles'", "TSV").bytes()
    return int(found or b"0")


def handle(request: dict[str, Any]) -> dict[str, Any]:
    before = files_read()
    found = arrow(request["sql"], request.get("settings", ""))
    if request.get("files"):
        return {"files": files_read() - before}
    types = [row["type"] for row in arrow(f"DESCRIBE ({request['sql']})", request.get("settings", "")).to_pylist()]
    columns = [column.to_pylist() for column in found.columns]
    for number, field in enumerate(found.schema):
        if pa.types.is_map(field.type):
            columns[number] = [pairs_as_map(value) for value in columns[number]]
    return {"names": found.column_names, "types": types, "rows": [list(row) for row in zip(*columns, strict=True)]}


if __name__ == "__main__":
    serve(handle)

"""Sail, by Spark's own client over Spark Connect.

{"sql": "...", "table": name, "folder": where it lies} asks of one table; "at" is a snapshot's id or a tag, "files" as
elsewhere.
"""

from __future__ import annotations

import re
from typing import Any

from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

from tests.engines.workers.answers import serve

sessions: list[Any] = []


def session() -> Any:
    if not sessions:
        server = SparkConnectServer("127.0.0.1", 0)
        server.start()
        made = SparkSession.builder.remote(f"sc://127.0.0.1:{server.listening_address[1]}").getOrCreate()
        made.conf.set("spark.sql.session.timeZone", "UTC")
        sessions.extend([made, server])
    return sessions[0]


def handle(request: dict[str, Any]) -> dict[str, Any]:
    spark = session()
    at = request.get("at")
    options = {} if at is None else {"tag" if isinstance(at, str) else "snapshotId": str(at)}
    frame = spark.read.format("iceberg").options(**options).load(request["folder"])
    frame.createOrReplaceTempView(request["table"])
    if request.get("files"):
        plan = spark.sql("EXPLAIN ANALYZE " + request["sql"]).collect()[0][0]
        scans = re.findall(r"file_groups=\{\d+ groups?: \[\[(.*?)\]\]\}", plan)
        return {"files": sum(scan.count(".parquet") for scan in scans)}
    found = spark.sql(request["sql"])
    rows = [list(row) for row in found.collect()]
    return {"names": found.columns, "types": [kind for _, kind in found.dtypes], "rows": rows}


if __name__ == "__main__":
    serve(handle)

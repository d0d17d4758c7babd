"""Spark, in its own environment. The setup is the `conf` of the process.

{"session": "a", "conf": {...}} makes a session of that name; {"session": "a", "sql": "..."} asks it; with "files": true
the answer is the number of data files that the scans of the statement read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession

from tests.engines.workers.answers import loads, serve


class Sessions:
    def __init__(self, conf: dict[str, str]) -> None:
        builder = SparkSession.builder.master("local[2]").appName("test")
        for key, value in conf.items():
            builder = builder.config(key, value)
        self.first = builder.getOrCreate()
        self.first.sparkContext.setLogLevel("ERROR")
        self.named: dict[str, SparkSession] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        if "conf" in request:
            session = self.first.newSession()  # with catalogs of its own
            for key, value in request["conf"].items():
                session.conf.set(key, value)
            self.named[request["session"]] = session
            return {"version": session.version}
        frame = self.named[request["session"]].sql(request["sql"])
        rows = [list(row) for row in frame.collect()]
        if request.get("files"):
            return {"files": sum(_files(frame._jdf.queryExecution().executedPlan()))}
        return {"names": frame.columns, "types": [kind for _, kind in frame.dtypes], "rows": rows}


def _files(plan: Any) -> Iterator[int]:
    """What each scan of Iceberg below a node of the executed plan counted."""
    if plan.nodeName() == "AdaptiveSparkPlan":
        yield from _files(plan.executedPlan())
    found = plan.metrics().get("resultDataFiles")
    if found.isDefined():
        yield found.get().value()
    children = plan.children()
    for number in range(children.size()):
        yield from _files(children.apply(number))


# The Java below inherits the standard output of this process: it has to be the log before that starts.
started: list[Sessions] = []


def handle(request: dict[str, Any]) -> dict[str, Any]:
    if not started:
        started.append(Sessions(loads(sys.argv[1])))
    return started[0].handle(request)


if __name__ == "__main__":
    serve(handle)

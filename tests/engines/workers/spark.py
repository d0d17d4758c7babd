"""Spark, in its own environment. The setup has `conf` of the session; see `answers.py` for the rest.

{"session": "a", "conf": {...}} makes a session of that name; {"session": "a", "sql": "..."} asks it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyspark.sql import SparkSession

from engines.workers.answers import plain, serve


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
        rows = [[plain(value) for value in row] for row in frame.collect()]
        return {"names": frame.columns, "types": [kind for _, kind in frame.dtypes], "rows": rows}


# The Java below inherits the standard output of this process: it has to be the log before that starts.
started: list[Sessions] = []


def handle(request: dict[str, Any]) -> dict[str, Any]:
    if not started:
        started.append(Sessions(json.loads(sys.argv[1])))
    return started[0].handle(request)


serve(handle)

"""A Spark session in this process, for lakes whose engine it is, and what two lakes must have in common."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from compactor.duck import session as engine
from compactor.duck.sql import quote
from compactor.engines.spark.session import SETTINGS
from compactor.lake.own_tables import FILES, QUARANTINE
from tests.engines import places
from tests.support.lake import Lake

APART = {"run_id", "loaded_at", "quarantined_at", "etag"}  # a folder's ETags have the times of its files
SMALL = {
    "spark.master": "local[2]",
    "spark.driver.memory": "2g",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


def spark_settings(version: str = "3.5") -> dict[str, str]:
    """What `spark.settings` of a config has in the tests: jars that lie in the cache, and a small machine."""
    return {**SMALL, "spark.jars": ",".join(map(str, places.spark_jars(version)))}


def on_spark(settings: str = "", version: str = "3.5", *, batch: str = "{}") -> str:
    """A config's settings, and that its engine is Spark."""
    return f"engine: spark\nspark: {{settings: {json.dumps(spark_settings(version))}, batch: {batch}}}\n{settings}"


@contextmanager
def session() -> Iterator[None]:
    """A session that all runs in this process share, as runs do under `spark-submit`: one start instead of many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(places.java("spark")))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(Path.cwd())])))
        builder = SparkSession.builder
        for name, value in {**SETTINGS, **spark_settings()}.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        try:
            yield
        finally:
            spark.stop()


def contents(lake: Lake) -> Mapping[str, list[str]]:
    """All that two lakes with the same deliveries must have in common, whichever engines loaded them.

    Of the records also which line they came from; ids, times and snapshots of runs apart.
    """
    found = {}
    for name in _tables(lake):
        table = lake.tables.table(name)
        batches = table.scan([column for column in table.schema.names if column not in APART]).batches
        found[name] = sorted(repr(row) for batch in batches for row in batch.to_pylist())
    return found


def checksums(lake: Lake) -> Mapping[str, list[str]]:
    """As `contents`, for a lake too large for memory: of each table the number of rows, and the sum of their hashes."""
    found = {}
    with engine.session(lake.config.resources) as con:
        for name in _tables(lake):
            table = lake.tables.table(name)
            columns = [column for column in table.schema.names if column not in APART]
            con.register("rows", table.scan(columns).batches)
            quoted = ", ".join(map(quote, columns))
            found[name] = [str(con.execute(f"SELECT count(*), sum(hash({quoted})::HUGEINT) FROM rows").fetchone())]
            con.unregister("rows")
    return found


def _tables(lake: Lake) -> list[str]:
    return [*lake.record_tables, FILES, QUARANTINE]


def assert_same(found: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> None:
    for name in found:
        one, two = Counter(found[name]), Counter(other[name])
        assert one == two, f"{name}\n  " + "\n  ".join([*list(one - two)[:3], "but", *list(two - one)[:3]])

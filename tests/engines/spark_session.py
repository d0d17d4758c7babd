"""Spark as a child process, one for all tests of its version, with a session (and so with catalogs) for each lake."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engines import places
from engines.results import Result
from engines.worker import Worker

_ICEBERG = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_numbers = itertools.count(1)


class SparkServer:
    """`version` is "3.5" or "4.1". The process starts at the first `catalog`."""

    def __init__(self, version: str, folder: Path) -> None:
        self.version = version
        self.pinned = places.pinned(f"spark{version.replace('.', '')}")
        self._folder = folder
        self._worker: Worker | None = None

    def _started(self) -> Worker:
        if self._worker is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            java = places.java("spark")
            environment = {
                **os.environ,
                "JAVA_HOME": str(java),
                "TZ": "UTC",
                "SPARK_LOCAL_IP": "127.0.0.1",
                # What S3FileIO signs with where a catalog's properties name no keys.
                "AWS_REGION": "us-east-1",
            }
            environment.pop("SPARK_HOME", None)
            conf = {
                "spark.jars": ",".join(map(str, places.spark_jars(self.version))),
                "spark.sql.extensions": _ICEBERG,
                "spark.driver.memory": "2g",
                "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
                "spark.sql.session.timeZone": "UTC",
                "spark.sql.shuffle.partitions": "2",
                "spark.ui.enabled": "false",
                "spark.ui.showConsoleProgress": "false",
                "spark.local.dir": str(self._folder / "spill"),
                "spark.sql.warehouse.dir": str(self._folder / "warehouse"),
            }
            python = places.python(f"spark{self.version.replace('.', '')}")
            self._worker = Worker(python, "spark", self._folder / "log", environment=environment, setup=conf)
        return self._worker

    def catalog(self, properties: Mapping[str, str], *, name: str = "rover", namespace: str = "rover") -> Spark:
        """A session whose current catalog has these properties (of `spark.sql.catalog.NAME.…`)."""
        worker, session = self._started(), f"session{next(_numbers)}"
        conf = {f"spark.sql.catalog.{name}": "org.apache.iceberg.spark.SparkCatalog"}
        conf |= {f"spark.sql.catalog.{name}.{key}": value for key, value in properties.items()}
        # Tables change beneath the session, by the compactor and by other engines.
        conf[f"spark.sql.catalog.{name}.cache-enabled"] = "false"
        worker.call(session=session, conf=conf)
        spark = Spark(worker, session, self.pinned)
        spark.query(f"USE {name}.{namespace}")
        return spark

    def stop(self) -> None:
        if self._worker:
            self._worker.stop()
            self._worker = None


class Spark:
    """A session, with a current catalog and namespace."""

    name = "Spark"

    def __init__(self, worker: Worker, session: str, version: str) -> None:
        self._worker, self._session, self.version = worker, session, version

    def ask(self, sql: str) -> Result:
        """Column names, the types as Spark names them, and rows. Raises EngineError."""
        return self._worker.ask(session=self._session, sql=sql)

    def files(self, sql: str) -> int:
        """Runs it; how many data files its scans opened."""
        return int(self._worker.call(session=self._session, sql=sql, files=True)["files"])

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.ask(sql).rows


def sqlite_catalog(warehouse: Path) -> dict[str, str]:
    """Spark's properties for the embedded catalog. The name of Spark's catalog has to be that of the compactor's."""
    return {
        "type": "jdbc",
        "uri": f"jdbc:sqlite:{warehouse}/catalog.db",
        "jdbc.schema-version": "V1",
        "warehouse": f"file://{warehouse}",
    }

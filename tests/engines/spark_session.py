"""Spark as a child process, one for all tests of its version, with a session (and so with catalogs) for each lake."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.engines import places
from tests.engines.results import Result
from tests.engines.worker import Worker
from tests.support.glue_server import OWNER

KEY, SECRET = OWNER, "test-secret"
_ICEBERG = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
_numbers = itertools.count(1)


class SparkServer:
    """`version` is "3.5" or "4.1". The process starts when the first session asks something, and ends the `others`.

    It can come and go: sessions that are used again are made again.
    """

    def __init__(self, version: str, folder: Path, others: list[SparkServer]) -> None:
        self.key = f"spark{version.replace('.', '')}"
        self.version = version
        self._folder = folder
        self._others = others
        self._worker: Worker | None = None
        self._sessions: set[str] = set()

    def catalog(self, properties: Mapping[str, str], *, name: str = "rover", namespace: str = "rover") -> Spark:
        """A session whose current catalog has these properties (of `spark.sql.catalog.NAME.…`)."""
        conf = {f"spark.sql.catalog.{name}": "org.apache.iceberg.spark.SparkCatalog"}
        conf |= {f"spark.sql.catalog.{name}.{key}": value for key, value in properties.items()}
        # Tables change beneath the session, by the compactor and by other engines.
        conf[f"spark.sql.catalog.{name}.cache-enabled"] = "false"
        return Spark(self, f"session{next(_numbers)}", conf, f"USE {name}.{namespace}")

    def worker(self, session: str, conf: Mapping[str, str], first: str) -> Worker:
        """The process, with a session of that name in it."""
        if self._worker is None:
            for other in self._others:
                other.stop()
            self._worker = self._start()
        if session not in self._sessions:
            self._worker.call(session=session, conf=dict(conf))
            self._worker.call(session=session, sql=first)
            self._sessions.add(session)
        return self._worker

    def _start(self) -> Worker:
        self._folder.mkdir(parents=True, exist_ok=True)
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
        # The keys of a test server of AWS: never those of the machine.
        aws = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        environment = aws | {"JAVA_HOME": str(places.java("spark")), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": ""}
        return Worker(places.python(self.key), "spark", self._folder / "log", environment=environment, setup=conf)

    def stop(self) -> None:
        if self._worker:
            self._worker.stop()
        self._worker = None
        self._sessions.clear()


class Spark:
    """A session, with a current catalog and namespace."""

    name = "Spark"

    def __init__(self, server: SparkServer, session: str, conf: Mapping[str, str], first: str) -> None:
        self._server, self._session, self._conf, self._first = server, session, conf, first
        self.version = places.pinned(server.key)

    @property
    def _worker(self) -> Worker:
        return self._server.worker(self._session, self._conf, self._first)

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

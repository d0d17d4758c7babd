"""The Spark session of a run, and where its Iceberg runtime comes from.

Iceberg gets a catalog of its own in the session, `compactor`, kept in the driver's memory: it knows clones of tables
and nothing else (see `compactor.engines.spark.clone`). So the session needs no access to the catalog of the tables.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any

import pyspark
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from compactor.config import Config
from compactor.duck import session as engine
from compactor.duck.relations import Relations
from compactor.engines.spark.clone import CATALOG
from compactor.engines.spark.work import SparkBatch
from compactor.errors import CompactorError, UsageError
from compactor.lake.catalog import Lakehouse
from compactor.registry.dataset import Dataset

log = logging.getLogger(__name__)

# Spark's version -> the Iceberg runtime that was tested with it (Maven coordinates), and the version of that.
_RUNTIMES = {"3.5": ("3.5_2.12", "1.10.2"), "4.0": ("4.0_2.13", "1.10.2"), "4.1": ("4.1_2.13", "1.11.0")}
_MINE = f"spark.sql.catalog.{CATALOG}"
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    # Columns are required by what the registry checks, which Spark cannot see in what it reads.
    "spark.sql.iceberg.check-nullability": "false",
    _MINE: "org.apache.iceberg.spark.SparkCatalog",
    f"{_MINE}.type": "jdbc",
    f"{_MINE}.uri": "jdbc:derby:memory:compactor;create=true",  # Derby comes with Spark
    f"{_MINE}.warehouse": "file:///nowhere",  # is asked for, and never used: a clone lies where its table does
    f"{_MINE}.io-impl": "org.apache.iceberg.io.ResolvingFileIO",
    f"{_MINE}.cache-enabled": "false",
}
_ALONE = {
    "spark.master": "local[*]",
    "spark.app.name": "compactor",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


class SparkEngine(AbstractContextManager["SparkEngine"]):
    """Starts a Spark session when the first batch asks for one, and stops it at the end if it is the run's own."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._own = SparkSession.getActiveSession() is None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own and "_session" in self.__dict__:  # it was started
            self._session.stop()

    @contextmanager
    def open_batch(self, lake: Lakehouse, dataset: Dataset) -> Iterator[SparkBatch]:
        """A batch on the session, with a small session of the local engine for the accounts.

        Raises CompactorError where Spark fails; its own message, which can quote values, is logged with `-v` alone.
        """
        self._storage: Mapping[str, str] = lake.storage_properties()
        with engine.session(self._config.resources) as con:
            try:
                with Relations(con) as relations:
                    yield SparkBatch(self._session, lake, relations, dataset)
            except (PySparkException, Py4JError) as error:
                raise CompactorError(
                    f"{dataset.name}: Spark failed ({type(error).__name__}); nothing partial was published."
                    " Run again; `-v` shows Spark's own message"
                ) from error

    @cached_property
    def _session(self) -> SparkSession:
        submitted = "PYSPARK_GATEWAY_PORT" in os.environ  # by spark-submit: master, memory and jars are its options
        given = self._config.spark.settings
        builder = SparkSession.builder
        settings = {**SETTINGS, **storage_settings(self._storage), **given}
        if self._own and not submitted:
            os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
            settings = {**_ALONE, **settings}
            if not any(name.startswith("spark.jars") for name in given):
                settings["spark.jars.packages"] = ",".join(packages(pyspark.__version__, self._storage))
        for name, value in settings.items():
            builder = builder.config(name, value)
        if self._own:
            log.info("starting Spark %s", pyspark.__version__)
        try:
            with starting_apart():
                session = builder.getOrCreate()
        except (PySparkException, Py4JError, OSError) as error:
            raise UsageError(
                "Spark does not start; it needs Java 17 (JAVA_HOME, or `java` on the path), and the jars that"
                " spark.settings name; its message is above"
            ) from error
        jvm: Any = session._jvm  # noqa: SLF001  Iceberg's catalogs have no other way in
        jvm.java.lang.System.setProperty("derby.stream.error.file", os.devnull)  # else it logs to the working directory
        # Else each file on a local disk gets a hidden .crc file beside it, which nobody would remove.
        hadoop = session._jsc.hadoopConfiguration()  # noqa: SLF001
        jvm.org.apache.hadoop.fs.FileSystem.getLocal(hadoop).setWriteChecksum(False)
        if not callable(jvm.org.apache.iceberg.spark.Spark3Util):
            raise UsageError(
                "Spark has no Iceberg runtime; add the package of docs/spark.md by spark.settings or --packages"
            )
        return session


@contextmanager
def starting_apart() -> Iterator[None]:
    """Lets a process that is started inside write to stderr what it would write to stdout: Java, of its downloads."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def packages(version: str, storage: Mapping[str, str]) -> list[str]:
    """Maven coordinates of what a session of this Spark version needs for tables in this storage.

    Raises UsageError for a version that no tested runtime is known for.
    """
    found = _RUNTIMES.get(".".join(version.split(".")[:2]))
    if found is None:
        raise UsageError(
            f"no Iceberg runtime is known for Spark {version}; install one of {', '.join(_RUNTIMES)}, or name the"
            " runtime's package in spark.settings (spark.jars.packages)"
        )
    suffix, iceberg = found
    names = [f"org.apache.iceberg:iceberg-spark-runtime-{suffix}:{iceberg}"]
    if _is_s3(storage):
        names.append(f"org.apache.iceberg:iceberg-aws-bundle:{iceberg}")
    return names


def storage_settings(storage: Mapping[str, str]) -> dict[str, str]:
    """How Iceberg's own runtime reaches the storage that PyIceberg reaches by these properties.

    Without keys the runtime finds credentials as all AWS SDKs do.
    """
    settings = {}
    for name in ("access-key-id", "secret-access-key", "session-token"):
        if value := storage.get(f"s3.{name}") or storage.get(f"client.{name}"):
            settings[f"{_MINE}.s3.{name}"] = value
    if endpoint := storage.get("s3.endpoint"):
        settings[f"{_MINE}.s3.endpoint"] = endpoint
        settings[f"{_MINE}.s3.path-style-access"] = "true"
    if region := storage.get("s3.region") or storage.get("client.region"):
        settings[f"{_MINE}.client.region"] = region
    return settings


def _is_s3(storage: Mapping[str, str]) -> bool:
    return storage.get("warehouse", "").startswith(("s3://", "s3a://")) or "s3.endpoint" in storage

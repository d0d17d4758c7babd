"""All engines, by the key that the tests and the table know them by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from compactor.duck.extensions import load_extensions
from tests.engines import places, spark_session, trino_server
from tests.engines.readers import (
    ClickHouseReader,
    DuckReader,
    FrameReader,
    PyIcebergReader,
    Reader,
    SailReader,
    SparkReader,
    TrinoReader,
    metadata_of,
)
from tests.engines.worker import Worker
from tests.support.lake import Lake

TITLES = {
    "trino": f"Trino {places.pinned('trino')}",
    "spark35": f"Spark {places.pinned('spark35')}",
    "spark41": f"Spark {places.pinned('spark41')}",
    "duckdb": f"DuckDB {duckdb.__version__}",
    "pyiceberg": f"PyIceberg {version('pyiceberg')}",
    "polars": f"Polars {places.pinned('polars')}",
    "chdb": f"chDB {places.pinned('chdb')}",
    "sail": f"Sail {places.pinned('sail')}",
    "daft": f"Daft {places.pinned('daft')}",
}
"""In the order in which they run."""
OPENS_BY_CATALOG = ("trino", "spark35", "spark41")
_WORKERS = {"polars": "polars_scan", "chdb": "chdb_session", "sail": "sail", "daft": "daft_scan"}


@dataclass
class Engine:
    key: str
    open: Callable[[Lake], Reader]
    """A lake of the embedded catalog, to read."""

    @property
    def title(self) -> str:
        return TITLES[self.key]


@contextmanager
def started(key: str, folder: Path, catalog: Callable[..., Any]) -> Iterator[Engine]:
    """An engine; its process ends with the context. `catalog` is the factory of those that read through one."""
    if key == "trino":
        sqlite = trino_server.sqlite_catalog
        yield Engine(key, _once(lambda lake: TrinoReader(catalog(sqlite(_warehouse(lake))).ask)))
    elif key.startswith("spark"):
        yield Engine(key, _once(lambda lake: SparkReader(catalog(spark_session.sqlite_catalog(_warehouse(lake))))))
    elif key == "duckdb":
        connection = duckdb.connect()
        load_extensions(connection, ["avro", "iceberg"])
        connection.execute("SET TimeZone = 'UTC'")
        yield Engine(key, lambda lake: DuckReader(connection, metadata_of(lake)))
        connection.close()
    elif key == "pyiceberg":
        yield Engine(key, lambda lake: PyIcebergReader(metadata_of(lake)))
    else:
        worker = Worker(
            places.python(key), _WORKERS[key], folder / f"{key}.log", environment=_SETTINGS.get(key, {}), setup={}
        )
        kinds: dict[str, Callable[..., Reader]] = {"chdb": ClickHouseReader, "sail": SailReader}
        yield Engine(key, lambda lake: kinds.get(key, FrameReader)(worker, metadata_of(lake)))
        worker.stop()


# Polars asks for a further package to plan faster; without it PyIceberg plans, as said here.
_SETTINGS = {"polars": {"POLARS_ICEBERG_PLANNER": "pyiceberg"}, "daft": {"DAFT_ANALYTICS_ENABLED": "0"}}


def _once(make: Callable[[Lake], Reader]) -> Callable[[Lake], Reader]:
    made: dict[Path, Reader] = {}

    def opened(lake: Lake) -> Reader:
        if lake.folder not in made:
            made[lake.folder] = make(lake)
        return made[lake.folder]

    return opened


def _warehouse(lake: Lake) -> Path:
    return lake.folder / "warehouse"

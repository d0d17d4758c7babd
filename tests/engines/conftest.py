"""Engines for all tests here: each starts when the first test asks for it.

    trino(properties) -> Trino, spark35(properties) -> Spark, spark41(properties) -> Spark

`properties` are those of one catalog, as the engine's documentation has them (`sqlite_catalog` of `trino_server` and of
`spark_session` gives those of the embedded catalog). What comes back has `query(sql)`, a list of tuples. Of the two
Sparks only one is alive at a time: that which was asked for last. Tests are ordered so that this costs one change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from engines.board import Board
from engines.engines import OPENS_BY_CATALOG, TITLES, Engine, started
from engines.lakes import OddLake, SortedLake
from engines.limits import CHECKS, LIMITS
from engines.spark_session import Spark, SparkServer
from engines.trino_server import Trino, TrinoServer

BOARD = Board(CHECKS, TITLES)
HERE = Path(__file__).parent
NewTrino = Callable[..., Trino]
NewSpark = Callable[..., Spark]


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engines)


@pytest.fixture(scope="session")
def trino_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrinoServer]:
    server = TrinoServer(tmp_path_factory.mktemp("trino"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def trino(trino_server: TrinoServer) -> NewTrino:
    return trino_server.catalog


@pytest.fixture(scope="session")
def sparks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SparkServer]]:
    servers = {version: SparkServer(version, tmp_path_factory.mktemp("spark")) for version in ("3.5", "4.1")}
    yield servers
    for server in servers.values():
        server.stop()


@pytest.fixture(scope="session")
def spark35(sparks: dict[str, SparkServer]) -> NewSpark:
    return _alone(sparks, "3.5")


@pytest.fixture(scope="session")
def spark41(sparks: dict[str, SparkServer]) -> NewSpark:
    return _alone(sparks, "4.1")


def _alone(sparks: dict[str, SparkServer], version: str) -> NewSpark:
    def catalog(*arguments: object, **options: object) -> Spark:
        for other, server in sparks.items():
            if other != version:
                server.stop()
        return sparks[version].catalog(*arguments, **options)  # type: ignore[arg-type]

    return catalog


Check = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session", params=list(TITLES))  # tests of one engine run together
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    key = request.param
    catalog = request.getfixturevalue(key) if key in OPENS_BY_CATALOG else print
    with started(key, tmp_path_factory.mktemp("engine"), catalog) as engine:
        yield engine


@pytest.fixture
def check(engine: Engine) -> Check:
    """An entry of the table, ok or the limit that is known: `with check("maps"): ...`."""
    return lambda name: BOARD.check(engine.key, name, LIMITS.get((engine.key, name)))


@pytest.fixture(scope="session")
def odd_lake(tmp_path_factory: pytest.TempPathFactory) -> OddLake:
    lake = OddLake(tmp_path_factory.mktemp("odd"))
    lake.fill()
    return lake


@pytest.fixture(scope="session")
def sorted_lake(tmp_path_factory: pytest.TempPathFactory) -> SortedLake:
    lake = SortedLake(tmp_path_factory.mktemp("sorted"))
    lake.fill()
    return lake


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if BOARD.cells:
        terminalreporter.section("what was checked of the tables")
        terminalreporter.write("\n".join(BOARD.lines()) + "\n")

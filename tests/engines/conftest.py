"""Engines for all tests here: each starts when the first test asks for it.

    trino(properties) -> Trino, spark35(properties) -> Spark, spark41(properties) -> Spark

`properties` are those of one catalog, as the engine's documentation has them (`sqlite_catalog` of `trino_server` and of
`spark_session` gives those of the embedded catalog). What comes back has `query(sql)`, a list of tuples. Of the two
Sparks only one is alive at a time, that which was asked last. Tests of one engine run together, so this costs little.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.engines import spark_session
from tests.engines.board import Board
from tests.engines.engines import OPENS_BY_CATALOG, TITLES, Engine, started
from tests.engines.lakes import OddLake, SortedLake
from tests.engines.limits import CHECKS, LIMITS
from tests.engines.maintenance import (
    DeletedLake,
    ForeignLake,
    delete_by_spark,
    delete_by_trino,
    maintain_by_spark,
    maintain_by_trino,
)
from tests.engines.migrations import MigratedLake
from tests.engines.spark_session import Spark, SparkServer
from tests.engines.trino_server import Trino, TrinoServer, sqlite_catalog
from tests.support.histories import History
from tests.support.lake import ROOT, Lake

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
    servers: list[SparkServer] = []
    for version in ("3.5", "4.1"):
        servers.append(SparkServer(version, tmp_path_factory.mktemp("spark"), servers))
    yield {server.key: server for server in servers}
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def spark35(sparks: dict[str, SparkServer]) -> NewSpark:
    return sparks["spark35"].catalog


@pytest.fixture(scope="session")
def spark41(sparks: dict[str, SparkServer]) -> NewSpark:
    return sparks["spark41"].catalog


Check = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="session", params=list(TITLES))  # tests of one engine run together
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    key = request.param
    catalog = request.getfixturevalue(key) if key in OPENS_BY_CATALOG else print
    with started(key, tmp_path_factory.mktemp("engine"), catalog) as engine:
        yield engine


@pytest.fixture
def check(engine: Engine) -> Check:
    """A context that makes an entry of the table: ok, or the limit that is known."""
    return lambda name: BOARD.check(engine.key, name, LIMITS.get((engine.key, name)))


@pytest.fixture(scope="session")
def odd_lake(tmp_path_factory: pytest.TempPathFactory) -> OddLake:
    lake = OddLake(tmp_path_factory.mktemp("odd"))
    lake.fill()
    return lake


@pytest.fixture(scope="session")
def migrated_lake(tmp_path_factory: pytest.TempPathFactory) -> MigratedLake:
    lake = MigratedLake(tmp_path_factory.mktemp("migrated"))
    lake.fill()
    return lake


@pytest.fixture(scope="session")
def uncommitted_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A table with a metadata file of a higher number and another state, that the catalog does not name."""
    lake = Lake(tmp_path_factory.mktemp("uncommitted"))
    history = History(5, datasets=("fan_profiles",), replaces=False)
    locations = []
    for _ in range(2):
        for delivery in history.night(30):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
        lake.compact()
        locations.append(
            Path(lake.tables.load_iceberg("fan_profiles_history").metadata_location.removeprefix("file://"))
        )
    earlier = locations[0]
    shutil.copyfile(earlier, earlier.with_name(f"00099-{earlier.name.partition('-')[2]}"))
    return lake


@pytest.fixture(scope="session")
def foreign_lakes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], ForeignLake]:
    """Name of a check -> the lake that it is about, made once."""
    made: dict[str, ForeignLake] = {}

    def lake_of(name: str) -> ForeignLake:
        if name not in made:
            what, _, key = name.partition("_")
            lake = (DeletedLake if what == "deleted" else ForeignLake)(tmp_path_factory.mktemp(name))
            catalog = sqlite_catalog if key == "trino" else spark_session.sqlite_catalog
            properties = catalog(lake.folder / "warehouse")

            def work(tables: list[str]) -> None:
                query = request.getfixturevalue(key)(properties).query
                by_trino = key == "trino"
                if what == "deleted":
                    (delete_by_trino if by_trino else delete_by_spark)(query)
                else:
                    (maintain_by_trino if by_trino else maintain_by_spark)(query, tables)
                if not by_trino:  # an idle session can keep a lock on SQLite's file, and the next night waits for it
                    request.getfixturevalue("sparks")[key].stop()

            made[name] = lake
            lake.fill(work)
        assert made[name].is_full, f"{name} could not be made; an earlier test says why"
        return made[name]

    return lake_of


@pytest.fixture(scope="session")
def sorted_lake(tmp_path_factory: pytest.TempPathFactory) -> SortedLake:
    lake = SortedLake(tmp_path_factory.mktemp("sorted"))
    lake.fill()
    return lake


DOCS = ROOT / "docs" / "engines.md"
MARKS = ("<!-- table: written by WRITE_DOCS=1 make test-engines -->\n", "<!-- end of table -->\n")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails a run of everything that found something else than the documentation has. Or writes it there."""
    if not BOARD.complete:
        return
    head, rest = DOCS.read_text(encoding="utf-8").split(MARKS[0])
    documented, tail = rest.split(MARKS[1])
    found = "\n".join(["", *BOARD.lines(), "", ""])
    if os.environ.get("WRITE_DOCS"):
        DOCS.write_text(f"{head}{MARKS[0]}{found}{MARKS[1]}{tail}", encoding="utf-8")
    elif documented != found and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        BOARD.remarks.append("docs/engines.md has another table: write this one with WRITE_DOCS=1 make test-engines")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if BOARD.cells:
        terminalreporter.section("what was checked of the tables")
        terminalreporter.write("\n".join([*BOARD.lines(), *BOARD.remarks]) + "\n")

"""A catalog on PostgreSQL, on a real server: its races, its failures, and the examples of docs/catalogs.md."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.serializers import ToOutputFile
from sqlalchemy import text
from sqlalchemy.orm import Session

from compactor.commands.verify.verify import verify
from compactor.errors import CompactorError, ConflictError, UsageError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import RUNS
from tests.support.assertions import assert_failed
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.postgres_server import PostgresServer, postgres_lake

MINE = ("fan_profiles",)


@pytest.fixture
def lake(tmp_path: Path, postgres: PostgresServer) -> Lake:
    lake = postgres_lake(tmp_path, postgres.new_schema())
    for delivery in History(3, datasets=MINE, replaces=False).deliveries(2, 20):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
    return lake


def assert_complete(lake: Lake) -> None:
    lake.assert_equals_model(MINE)
    checks = verify(lake.config, lake.registry, rebuild=True).checks
    assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize("catalog", ["sqlite", "postgresql"])
def test_first_runs_may_make_catalog_namespace_and_tables_at_the_same_time(
    tmp_path: Path, postgres: PostgresServer, catalog: str
) -> None:
    for number in range(2):
        folder = tmp_path / str(number)
        lake = Lake(folder) if catalog == "sqlite" else postgres_lake(folder, postgres.new_schema())
        together = threading.Barrier(4)

        def begin(_: int, lake: Lake = lake, together: threading.Barrier = together) -> list[str]:
            together.wait(timeout=60)
            tables = Lakehouse(lake.config)
            tables.ensure(lake.registry, MINE)
            return [str(tables.load_iceberg(name).metadata.table_uuid) for name in (RUNS, *MINE)]

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(begin, range(4)))
        assert found == [found[0]] * 4


def test_of_two_commits_that_meet_in_the_database_the_second_is_a_conflict(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have been found to fit before either changes the row."""
    lake.tables.ensure(lake.registry, MINE)
    ours, theirs = lake.tables.table(RUNS), lake.tables.table(RUNS)
    write_metadata = ToOutputFile.table_metadata  # between the check and the change

    def overtaken(*arguments: Any, **options: Any) -> None:
        monkeypatch.setattr(ToOutputFile, "table_metadata", write_metadata)
        theirs.commit([], [], {}, commit_id="theirs")
        write_metadata(*arguments, **options)

    monkeypatch.setattr(ToOutputFile, "table_metadata", overtaken)
    with pytest.raises(ConflictError, match="another writer committed first") as caught:
        ours.commit([], [], {}, commit_id="ours")
    assert isinstance(caught.value.__cause__, CommitFailedException)
    runs = lake.tables.table(RUNS)
    assert [runs.find(name) is not None for name in ("theirs", "ours")] == [True, False]


def at_commit(
    monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Session, Callable[[Session], None]], None]
) -> None:
    """Acts in place of the `number`-th commit of the run in the database; `act` is given the session and the commit."""
    commit, taken = Session.commit, 0

    def committing(self: Session) -> None:
        nonlocal taken
        taken += 1
        (act if taken == number else lambda session, commit: commit(session))(self, commit)

    monkeypatch.setattr(Session, "commit", committing)


def test_a_server_that_goes_away_in_the_middle_fails_the_run_with_a_sentence_and_the_next_run_completes(
    lake: Lake, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.tables.ensure(lake.registry, MINE)

    def commit_then_stop(session: Session, commit: Callable[[Session], None]) -> None:
        commit(session)
        postgres.stop()

    with monkeypatch.context() as patch:
        at_commit(patch, 1, commit_then_stop)
        report = lake.compact(datasets=MINE, full_scan=True)
    assert_failed(report, r"the catalog's database cannot be used; check catalog\.properties")
    postgres.start()
    assert len(lake.history("fan_profiles")) > 0
    assert lake.current("fan_profiles") == {}
    lake.compact(datasets=MINE, full_scan=True)
    assert_complete(lake)


def test_a_server_that_goes_away_within_a_commit_fails_the_run_with_a_sentence_and_the_next_run_completes(
    lake: Lake, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.tables.ensure(lake.registry, MINE)

    def stop_then_commit(session: Session, commit: Callable[[Session], None]) -> None:
        postgres.stop()
        commit(session)

    with monkeypatch.context() as patch:
        at_commit(patch, 1, stop_then_commit)
        report = lake.compact(datasets=MINE, full_scan=True)
    assert_failed(report, "database cannot be used.*does not say whether it landed.*run again")
    postgres.start()
    assert lake.history("fan_profiles") == {}
    lake.compact(datasets=MINE, full_scan=True)
    assert_complete(lake)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_commit_whose_answer_is_lost_with_the_connection_is_found_in_place(
    lake: Lake,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    lake.tables.ensure(lake.registry, MINE)

    def lose(session: Session, commit: Callable[[Session], None]) -> None:
        commit(session)
        postgres.cut_connections()
        session.execute(text("SELECT 1"))

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        at_commit(patch, number, lose)
        lake.compact(datasets=MINE, full_scan=True)
    assert "the catalog failed after applying the commit; it is in place" in caplog.text
    assert_complete(lake)


def test_connections_that_are_cut_between_commits_are_made_again_with_pool_pre_ping(
    lake: Lake, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.tables.ensure(lake.registry, MINE)
    lake.file.write_text(lake.file.read_text().replace("type: sql", "type: sql, pool_pre_ping: 'true'"))
    commit_table = SqlCatalog.commit_table

    def commit_then_cut(*arguments: Any) -> Any:
        answer = commit_table(*arguments)
        postgres.cut_connections()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", commit_then_cut)
        lake.compact(datasets=MINE, full_scan=True)
    assert_complete(lake)


def test_a_missing_right_of_the_catalogs_user_is_named(lake: Lake, postgres: PostgresServer) -> None:
    lake.tables.ensure(lake.registry, MINE)
    postgres.execute("CREATE ROLE stranger LOGIN")
    lake.file.write_text(lake.file.read_text().replace("postgres@", "stranger@"))
    with pytest.raises(CompactorError, match="refuses this user; grant SELECT, INSERT, UPDATE and DELETE on iceberg_t"):
        lake.compact(datasets=MINE)


def test_a_driver_that_is_not_installed_is_named_with_the_command_that_does(lake: Lake) -> None:
    lake.file.write_text(lake.file.read_text().replace("+psycopg2", "+pg8000"))
    with pytest.raises(UsageError, match=r"its driver is not installed; .* pip install '\.\[postgres\]'"):
        lake.compact(datasets=MINE)

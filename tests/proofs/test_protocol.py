"""A run that is overtaken at any step of a batch, by a run or a replay, still ends with the expected tables."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from compactor.commands.migrate import migrate
from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.errors import ConflictError
from compactor.lake.table import Table
from compactor.progress import NullProgress
from compactor.publish import protocol
from tests.support.assertions import assert_failed
from tests.support.histories import History
from tests.support.lake import SCHEMAS, Lake
from tests.support.overtaking import STEPS, overtaken
from tests.support.profile_versions import learn_version_2, record

DATASETS = ("fan_profiles", "fan_identity_graph")


def deliver(lake: Lake, history: History, count: int, lines: int) -> None:
    for delivery in history.deliveries(count, lines):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


PLACES = [
    pytest.param(step, count, marks=() if count == 1 or step in ("commit", "put") else pytest.mark.soak)
    for step in STEPS
    for count in (1, 2)
]
"""Step, and how often it is taken before. A second commit or put is that of another table."""


@pytest.mark.parametrize("nights", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("step", "count"), PLACES)
def test_a_run_overtaken_by_others_ends_as_the_model_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, count: int, nights: int
) -> None:
    datasets = DATASETS if nights > 1 else DATASETS[hash_of(step) % 2 :][:1]
    lake = Lake(tmp_path)
    history = History(hash_of(step) + count, datasets=datasets, entities=3, days=2, replaces=False)
    deliver(lake, history, 4, 20)
    lake.compact(datasets=datasets, full_scan=True)
    for _ in range(nights):
        deliver(lake, history, 3, 20)

        def interlude() -> None:
            lake.compact(datasets=datasets, full_scan=True)
            deliver(lake, history, 3, 20)
            lake.compact(datasets=datasets, full_scan=True)

        with overtaken(monkeypatch, step, count, interlude):
            lake.compact(datasets=datasets, full_scan=True)
        lake.compact(datasets=datasets, full_scan=True)
        lake.assert_equals_model(datasets)
    assert all(check.ok for check in verify(lake.config, lake.registry, rebuild=True).checks)


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("overtaker", ["replay", "compact"])
def test_a_replay_and_a_run_that_meet_lose_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, count: int, overtaker: str
) -> None:
    """Version 2 arrives before the registry knows it; then lines of it are replayed while more arrive."""
    schemas = tmp_path / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    lake = Lake(tmp_path / "lake", schemas=schemas)
    lake.deliver("fan_profiles", [record(n, 1 + n % 2) for n in range(6)], part="a")
    lake.deliver("fan_profiles", [record(n, 2) for n in range(4, 8)], part="b")
    lake.compact(datasets=("fan_profiles",))
    assert len(lake.quarantine()) == 3 + 4
    learn_version_2(schemas / "fan_profiles.yaml")
    lake = Lake(tmp_path / "lake", schemas=schemas)
    migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress())
    lake.deliver_unmodelled("fan_profiles", [record(n, 2) for n in range(6, 10)] + [b"bad"], part="c")

    def run() -> None:
        lake.compact(datasets=("fan_profiles",), full_scan=True)

    def run_replay() -> None:
        replay(lake.config, lake.registry, datasets=("fan_profiles",), progress=NullProgress())

    first, second = (run, run_replay) if overtaker == "replay" else (run_replay, run)
    with overtaken(monkeypatch, step, count, second):
        first()
    run_replay()
    assert sorted(lake.history("fan_profiles")) == [f"r{n}" for n in range(10)]
    assert len(lake.current("fan_profiles")) == 10
    assert [row["raw"] for row in lake.quarantine()] == ["bad"]
    entries = {row["key"][-14:-10]: row for row in lake.ledger()}
    assert sum(row["new"] for row in entries.values()) == 10
    assert [entries[part]["lines"] for part in sorted(entries)] == [6, 4, 5]
    assert [entries[part]["quarantined"] for part in sorted(entries)] == [0, 0, 1]
    assert all(check.ok for check in verify(lake.config, lake.registry, rebuild=True).checks)


def test_a_run_that_cannot_finish_its_batch_says_so_and_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path, settings="commit: {attempts: 2}")
    lake.deliver("fan_profiles", [record(n, 1) for n in range(5)])

    def always_late(*_: Any, **__: Any) -> None:
        raise ConflictError("somebody was faster")

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "commit_current", always_late)
        report = lake.compact(datasets=("fan_profiles",))
    assert_failed(report, "^fan_profiles: other runs kept committing first; .*run again$")
    assert lake.current("fan_profiles") == {}
    lake.compact(datasets=("fan_profiles",))
    lake.assert_equals_model(("fan_profiles",))
    assert len(lake.current("fan_profiles")) == 5


def test_a_run_that_others_are_ahead_of_each_time_says_so_and_the_next_one_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path, settings="commit: {attempts: 2}")
    lake.deliver("fan_profiles", [record(n, 1) for n in range(5)])

    def overtaken_always(table: Table, *_: Any, **__: Any) -> None:
        raise ConflictError(f"{table.identifier}: another writer committed first")

    with monkeypatch.context() as patch:
        patch.setattr(Table, "commit", overtaken_always)
        report = lake.compact(datasets=("fan_profiles",))
    message = "rover.fan_profiles_history: another writer committed first after 2 attempts; run again, or raise"
    assert_failed(report, f"^fan_profiles: {message} commit.attempts")
    assert lake.history("fan_profiles") == {}
    lake.compact(datasets=("fan_profiles",))
    lake.assert_equals_model(("fan_profiles",))


def test_two_first_runs_may_make_the_namespace_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    lake.deliver("fan_profiles", [record(1, 1)])
    Lake(tmp_path).tables.ensure(lake.registry, [])
    original = SqlCatalog.namespace_exists
    asked = iter([False, False])  # by us, and by the catalog itself before it makes the namespace
    monkeypatch.setattr(
        SqlCatalog, "namespace_exists", lambda self, name: next(asked, None) is None and original(self, name)
    )
    lake.compact(datasets=("fan_profiles",))
    assert next(asked, None) is None
    lake.assert_equals_model(("fan_profiles",))


def hash_of(text: str) -> int:
    return sum(map(ord, text))

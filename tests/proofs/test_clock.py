"""A clock that is set back, between runs and within one: no row changes, and nothing pending is hidden."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from compactor.lake.own_tables import RUNS
from compactor.publish import run_log
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.profile_versions import record

DATASETS = ("fan_profiles", "fan_identity_graph")
NAME = "fan_profiles"
EARLY, LATE = "2026-11-01T05", "2026-11-20T05"


class Clock:
    """All that this program and PyIceberg ask for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = datetime(2026, 12, 1, tzinfo=UTC)
        self.step = timedelta(seconds=1)
        monkeypatch.setattr(run_log, "now", self._tick)
        monkeypatch.setattr(time, "time", lambda: self._tick().timestamp())

    def _tick(self) -> datetime:
        self.time += self.step
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_clock_that_goes_backwards_changes_no_row_and_no_version_is_older_than_the_one_before(
    tmp_path: Path, clock: Clock
) -> None:
    """Within a run the clock goes back a minute at each look; between runs by days."""
    lake = Lake(tmp_path, settings="batch: {objects: 2}")
    history = History(1, datasets=DATASETS)
    for _ in range(3):
        for delivery in history.deliveries(4, 20):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
        lake.compact(datasets=DATASETS, full_scan=True)
        clock.step = -timedelta(minutes=1)
        clock.time -= timedelta(days=3)
    lake.assert_equals_model(DATASETS)
    for name in (*lake.record_tables, RUNS, "compactor_files", "compactor_quarantine"):
        if not lake.tables.exists(name):
            continue
        metadata = lake.tables.load_iceberg(name).metadata
        snapshots = [entry.timestamp_ms for entry in metadata.snapshot_log]
        versions = [*(entry.timestamp_ms for entry in metadata.metadata_log), metadata.last_updated_ms]
        assert snapshots == sorted(snapshots)
        assert versions == sorted(versions)
        assert len(versions) > 1


def pending(lake: Lake) -> int:
    """Objects that the next run over its usual window would find."""
    return sum(dataset.objects + len(dataset.failed) for dataset in lake.compact(datasets=(NAME,)).datasets)


def test_an_object_left_pending_while_the_clock_is_set_back_is_found_by_the_next_run(
    tmp_path: Path, clock: Clock
) -> None:
    lake = Lake(tmp_path)
    lake.deliver(NAME, [record(1, 1)], hour=LATE)
    lake.compact(datasets=(NAME,))
    clock.time -= timedelta(days=7)
    lake.deliver_unmodelled(NAME, [], hour=EARLY, part="late", raw=b"damaged")
    assert lake.compact(datasets=(NAME,), full_scan=True).exit_code == 1
    assert pending(lake) == 1
    clock.time += timedelta(days=30)
    assert pending(lake) == 1
    lake.deliver(NAME, [record(2, 1)], hour=EARLY, part="late")
    assert lake.compact(datasets=(NAME,)).exit_code == 0
    lake.assert_equals_model((NAME,))


def test_an_object_left_pending_by_a_run_at_the_same_time_is_found_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over all hours finds an old object damaged while one over the usual window is under way."""
    lake = Lake(tmp_path)
    lake.deliver(NAME, [record(1, 1)], hour=LATE)
    lake.compact(datasets=(NAME,))
    lake.deliver(NAME, [record(2, 1)], hour=LATE, part="b")
    lake.deliver_unmodelled(NAME, [], hour=EARLY, part="late", raw=b"damaged")
    original = run_log.record
    asked = count()

    def overtaken(*arguments: object) -> None:
        if next(asked) == 0:
            assert lake.compact(datasets=(NAME,), full_scan=True).exit_code == 1
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(run_log, "record", overtaken)
    assert lake.compact(datasets=(NAME,)).exit_code == 0
    assert next(asked) == 2
    assert pending(lake) == 1


def test_runs_are_listed_in_the_order_in_which_they_were_recorded(tmp_path: Path, clock: Clock) -> None:
    lake = Lake(tmp_path)
    for night in range(3):
        lake.deliver(NAME, [record(night, 1)], hour=f"2026-11-0{night + 1}T00")
        lake.compact(datasets=(NAME,))
        clock.time -= timedelta(days=7)
    lake.compact(datasets=(NAME,))  # without news: it says nothing of the watermark
    rows = sorted((row for row in lake.rows(RUNS) if row["watermark"]), key=lambda row: row["finished_at"])
    assert [row["watermark"] for row in rows] == ["2026-11-01T00", "2026-11-02T00", "2026-11-03T00"]

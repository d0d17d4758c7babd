"""A run that is killed leaves nothing half-done for good: the next run ends as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
from pathlib import Path

import pytest

from compactor.verify import verify
from histories import DATASETS, History
from lake import Lake
from processes import start


def assert_sound(lake: Lake, datasets: tuple[str, ...]) -> None:
    failed = [check for check in verify(lake.config, lake.registry, rebuild=True).checks if not check.ok]
    assert not failed
    lake.assert_equals_model(datasets)


def fill(lake: Lake, history: History, deliveries: int, lines: int) -> None:
    for delivery in history.deliveries(deliveries, lines):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


def test_killed_fifty_times_at_random_moments_the_next_run_completes(tmp_path: Path) -> None:
    chance = random.Random(11)
    lake = Lake(tmp_path, settings="batch: {objects: 2}")
    history = History(11, entities=20, replaces=False)
    killed = 0
    for _ in range(50):
        fill(lake, history, 6, 20)
        run = start(lake, "compact", "--full-scan")
        try:
            run.communicate(timeout=chance.uniform(0.5, 3.0))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            killed += 1
    assert killed >= 25, "most runs ended before they were killed: the test shows too little"
    lake.compact(full_scan=True)
    assert_sound(lake, DATASETS)


@pytest.mark.parametrize("share", range(4))
def test_killed_at_each_of_its_writes_the_next_run_completes(tmp_path: Path, share: int) -> None:
    """One lake for all points of a share: each is killed on its way over new objects, then finished and compared."""
    datasets = ("fan_identity_graph", "fan_profiles")
    lake = Lake(tmp_path)
    history = History(100 + share, datasets=datasets, entities=5)
    fill(lake, history, 4, 12)
    lake.compact(datasets=datasets, full_scan=True)
    point, survived = share + 1, False
    while not survived:
        fill(lake, history, 4, 12)
        run = start(lake, "compact", "--full-scan", *(f"--dataset={name}" for name in datasets), kill_at=point)
        _, errors = run.communicate(timeout=120)
        survived = run.returncode != -signal.SIGKILL
        assert not survived or run.returncode in (0, 3), errors
        lake.compact(datasets=datasets, full_scan=True)
        assert_sound(lake, datasets)
        point += 4
    assert point > 60, f"only {point} writes: the test shows too little"

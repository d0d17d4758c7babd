"""A run that is killed leaves nothing half-done for good: the next run ends as if nothing had happened."""

from __future__ import annotations

import logging
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from compactor.verify import verify
from histories import DATASETS, History
from lake import Lake
from processes import start

log = logging.getLogger(__name__)


def assert_sound(lake: Lake, datasets: tuple[str, ...]) -> None:
    failed = [check for check in verify(lake.config, lake.registry, rebuild=True).checks if not check.ok]
    assert not failed
    lake.assert_equals_model(datasets)


def fill(lake: Lake, history: History, deliveries: int, lines: int) -> None:
    for delivery in history.deliveries(deliveries, lines):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


@pytest.mark.parametrize("kills", [12, pytest.param(50, marks=pytest.mark.soak)])
def test_killed_again_and_again_at_random_moments_the_next_run_completes(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    lake = Lake(tmp_path, settings="batch: {objects: 2}")
    history = History(kills, entities=20, replaces=False)
    killed = runs = 0
    while killed < kills:
        fill(lake, history, 4, 20)
        run = start(lake, "compact", "--full-scan")
        try:
            run.communicate(timeout=chance.uniform(0.5, 4.0))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            killed += 1
        runs += 1
        assert runs <= 3 * kills, "most runs ended before they were killed: the test shows too little"
    lake.compact(full_scan=True)
    assert_sound(lake, DATASETS)


@pytest.mark.parametrize("first", range(4))
def test_killed_at_some_of_its_writes_the_next_run_completes(tmp_path: Path, first: int) -> None:
    killed = kill_at_writes(tmp_path, seed=100, objects=4, first=3 * first + 1, step=12)
    assert killed >= 4, f"only {killed} writes: the test shows too little"


@pytest.mark.soak
def test_killed_at_each_write_of_a_run_over_fifty_files_the_next_run_completes(tmp_path: Path) -> None:
    killed = kill_at_writes(tmp_path, seed=200, objects=50, first=1, step=1)
    log.info("killed at %d writes, one after another", killed)
    assert killed > 100


def kill_at_writes(folder: Path, *, seed: int, objects: int, first: int, step: int) -> int:
    """Kills the same run at its writes `first`, `first + step`…, then finishes it. Returns how often it was killed."""
    datasets = ("fan_identity_graph", "fan_profiles")
    lake = Lake(folder, settings=f"batch: {{objects: {max(objects // 10, 4)}}}")
    history = History(seed, datasets=datasets, entities=5)
    fill(lake, history, 4, 12)
    lake.compact(datasets=datasets, full_scan=True)
    fill(lake, history, objects, 12)
    warehouse, before = folder / "warehouse", folder / "before"
    shutil.copytree(warehouse, before)
    killed = 0
    for point in range(first, 10_000, step):
        shutil.rmtree(warehouse)
        shutil.copytree(before, warehouse)
        run = start(lake, "compact", "--full-scan", *(f"--dataset={name}" for name in datasets), kill_at=point)
        _, errors = run.communicate(timeout=300)
        if run.returncode != -signal.SIGKILL:
            assert run.returncode in (0, 3), errors
            break
        killed += 1
        lake.compact(datasets=datasets, full_scan=True)
        assert_sound(lake, datasets)
    return killed

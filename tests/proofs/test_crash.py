"""A run that is killed leaves nothing partial behind: the next run ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace as changed
from functools import partial
from pathlib import Path

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.replay import replay
from compactor.progress import NullProgress
from compactor.registry import loader
from tests.support.assertions import assert_sound
from tests.support.histories import DATASETS, History
from tests.support.lake import SCHEMAS, Lake
from tests.support.model import DATASETS as DATASETS_OF_MODEL
from tests.support.model import Model
from tests.support.processes import start
from tests.support.profile_versions import learn_version_2, record

DATASETS_OF_A_NIGHT = ("fan_identity_graph", "fan_profiles")
SHARES = 8


def fill(lake: Lake, history: History, deliveries: int, lines: int) -> None:
    for delivery in history.deliveries(deliveries, lines):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


@pytest.mark.parametrize("kills", [3, *(pytest.param(n, marks=pytest.mark.soak) for n in (12, 50))])
def test_killed_again_and_again_at_random_times_the_next_run_completes(tmp_path: Path, kills: int) -> None:
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


# What is killed at its writes. Each leaves a lake with something to do, and returns the verb that does it.


def a_night(folder: Path, *, objects: int, batch: int, first: bool = False) -> tuple[Lake, list[str]]:
    """New objects of two datasets, with new, replaced and deleted rows; `first`: into tables that do not exist yet."""
    lake = Lake(folder, settings=f"batch: {{objects: {batch}}}")
    history = History(100 + objects, datasets=DATASETS_OF_A_NIGHT, entities=5)
    if not first:
        fill(lake, history, 4, 12)
        lake.compact(datasets=DATASETS_OF_A_NIGHT, full_scan=True)
    fill(lake, history, objects, 12)
    return lake, ["compact", "--full-scan", *(f"--dataset={name}" for name in DATASETS_OF_A_NIGHT)]


def a_replay(folder: Path) -> tuple[Lake, list[str]]:
    """Lines of a version that the registry has come to know, some of records that are there and were emitted later."""
    schemas = folder / "schemas"
    shutil.copytree(SCHEMAS, schemas)
    lake = Lake(folder, schemas=schemas)
    first = DATASETS_OF_MODEL["fan_profiles"]
    both = changed(
        first,
        fields=first.fields | {"nickname": ("nickname", "string")},
        optional=(*first.optional, "nickname"),
        versions=frozenset({1, 2}),
    )
    lake.model = Model({"fan_profiles": both})
    lake.deliver("fan_profiles", [record(n, 1 + n % 2) for n in range(6)] + [b"bad"], part="a")
    lake.deliver("fan_profiles", [record(n, 2).replace(b"2026", b"2025", n % 2) for n in range(4, 9)], part="b")
    lake.compact(datasets=("fan_profiles",))
    learn_version_2(schemas / "fan_profiles.yaml")
    lake.registry = loader.load(schemas)
    migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress())
    return lake, ["replay", "--dataset=fan_profiles"]


WORK: dict[str, Callable[[Path], tuple[Lake, list[str]]]] = {
    "a night": partial(a_night, objects=4, batch=4),
    "a first night": partial(a_night, objects=2, batch=4, first=True),
    "a replay": a_replay,
    "a night over fifty files": partial(a_night, objects=50, batch=25),
}


@pytest.mark.parametrize(
    ("work", "kills", "share"),
    [
        ("a night", 3, 0),
        pytest.param("a first night", 2, 0, marks=pytest.mark.soak),
        ("a replay", 2, 0),
        *(pytest.param("a night", 3, share, marks=pytest.mark.soak) for share in (1, 2)),
    ],
)
def test_killed_at_some_of_its_writes_the_next_run_completes(tmp_path: Path, work: str, kills: int, share: int) -> None:
    """At some points, spread over the whole run; other ones for each `share`."""
    lake, verb = WORK[work](tmp_path)
    points = count_points(lake, verb)
    step = points // kills
    kill_at(lake, verb, range(1 + (share + 1) * step // 4, points + 1, step)[:kills])


@pytest.mark.soak
@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("work", WORK)
def test_killed_at_each_write_the_next_run_completes(
    tmp_path: Path, work: str, share: int, record_property: Callable[[str, object], None]
) -> None:
    """`share` of SHARES, so that they run side by side. KILL_AT=N runs one point alone."""
    lake, verb = WORK[work](tmp_path)
    points = count_points(lake, verb)
    assert points > 100
    alone = os.environ.get("KILL_AT")
    mine = [int(alone)] if alone else range(share + 1, points + 1, SHARES)
    kill_at(lake, verb, mine)
    record_property(f"of {points} points killed at", len(mine))


def count_points(lake: Lake, verb: list[str]) -> int:
    """Runs the verb to its end, counts the points at which it could have been killed, and puts the tables back."""
    warehouse, before = lake.folder / "warehouse", lake.folder / "before"
    warehouse.mkdir(exist_ok=True)
    shutil.copytree(warehouse, before)
    run = start(lake, *verb, kill_at=0)
    _, errors = run.communicate(timeout=300)
    assert run.returncode in (0, 3), errors
    return int(errors.split()[-2])


def kill_at(lake: Lake, verb: list[str], points: Sequence[int]) -> None:
    """Kills the verb at each of these points, begun from the same tables; then the same verb has to complete."""
    warehouse, before = lake.folder / "warehouse", lake.folder / "before"
    for point in points:
        shutil.rmtree(warehouse)
        shutil.copytree(before, warehouse)
        run = start(lake, *verb, kill_at=point)
        _, errors = run.communicate(timeout=300)
        try:
            assert run.returncode == -signal.SIGKILL, errors
            if verb[0] == "replay":
                replay(lake.config, lake.registry, datasets=("fan_profiles",), progress=NullProgress())
                assert_sound(lake, ("fan_profiles",))
            else:
                lake.compact(datasets=DATASETS_OF_A_NIGHT, full_scan=True)
                assert_sound(lake, DATASETS_OF_A_NIGHT)
        except BaseException as error:
            error.add_note(f"killed at point {point}: put KILL_AT={point} before the command to run it alone")
            raise

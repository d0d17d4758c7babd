"""Four runs at a time over one catalog, with new objects all the while and kills: nothing is lost, nothing double.

`make test` takes seconds of it. `make soak` takes 20 minutes of each catalog, or CONCURRENCY_SECONDS.
"""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.support.assertions import assert_sound
from tests.support.aws_lake import AwsLake
from tests.support.glue_server import AwsServer
from tests.support.histories import DATASETS, Delivery, History
from tests.support.lake import Lake
from tests.support.postgres_server import PostgresServer, postgres_lake
from tests.support.processes import start

log = logging.getLogger(__name__)

WRITERS = 4
ROUND, LAKE = 60.0, 240.0  # seconds: tables are compared after each round, and a lake is given up for a new one
SOAK = float(os.environ.get("CONCURRENCY_SECONDS", "1200"))
SECONDS = [5, pytest.param(SOAK, marks=pytest.mark.soak, id="soak")]
SMALL_BATCHES = "batch: {objects: 3}"
REASONS = re.compile(
    r"error: (?:[\w, ]+: )?(?:"
    r"other runs kept committing first; the batch is in the history"
    r"|[\w.]+: another writer committed first after \d+ attempts"
    r").*run again"
)
"""All that a run which fails here may say. It is then the last line on stderr."""


class Traffic:
    """What arrives at a lake and what runs on it, from a seed; how the runs interleave is the machine's choice."""

    def __init__(self, lake: Lake, seed: str, seen: Counter[str]) -> None:
        self._lake = lake
        self._seed = seed
        self._seen = seen
        self._history = History(sum(seed.encode()), entities=30, replaces=False)
        self._sent: list[Delivery] = []
        self._arriving = threading.Lock()

    def flow(self, seconds: float) -> None:
        """Starts run after run, WRITERS at a time, for so long; ends when the last of them has."""
        until = time.monotonic() + seconds

        def work(number: int) -> None:
            chance = random.Random(f"{self._seed}-{number}-{len(self._sent)}")
            while time.monotonic() < until:
                self._deliver(chance)
                self._run(chance)

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(work, range(WRITERS)))

    def _deliver(self, chance: random.Random) -> None:
        with self._arriving:
            arriving = list(self._history.deliveries(chance.randint(1, 3), 12))
            if self._sent and chance.random() < 0.3:  # the same lines once more, as another object
                again = chance.choice(self._sent)
                arriving.append(
                    Delivery(again.dataset, again.hour, f"{again.part}-again{len(self._sent)}", again.lines)
                )
            for delivery in arriving:
                self._lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
                self._seen.update(objects=1, lines=len(delivery.lines))
            self._sent += arriving

    def _run(self, chance: random.Random) -> None:
        kind = chance.random()
        words = ["replay"] if kind < 0.15 else ["compact", "--full-scan"]
        if 0.15 < kind < 0.6:
            words += ["--dataset", chance.choice(DATASETS)]
        run = start(self._lake, *words, "--if-running=ignore")
        try:
            _, errors = run.communicate(timeout=chance.uniform(0.5, 6) if chance.random() < 0.2 else 300)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            self._seen.update(runs=1, killed=1)
            return
        self._seen.update(runs=1, failed=run.returncode == 1, conflicts=errors.count("planning again"))
        assert "Traceback" not in errors, errors
        if run.returncode not in (0, 3):
            assert run.returncode == 1, errors
            assert REASONS.match(errors.splitlines()[-1]), errors


def prove(make_lake: Callable[[int], AbstractContextManager[Lake]], seed: str, seconds: float) -> Counter[str]:
    """Lets traffic flow on one lake after another; compares with the model after each round. Returns what was seen.

    A lake is given up for a new one in time: as nothing expires snapshots, its commits become slower and slower.
    """
    seen: Counter[str] = Counter()
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 0:
        with make_lake(seen["lakes"]) as lake:
            seen.update(lakes=1)
            traffic = Traffic(lake, f"{seed}-{seen['lakes']}", seen)
            ends_here = time.monotonic() + min(left, LAKE)
            while (left := ends_here - time.monotonic()) > 0:
                traffic.flow(min(left, ROUND))
                assert lake.compact(full_scan=True).exit_code in (0, 3)
                assert_sound(lake, DATASETS)
                seen.update(rounds=1)
                log.info("%s: %s", seed, dict(seen))
            seen.update(rows=sum(len(lake.rows(name)) for name in lake.record_tables))
        shutil.rmtree(lake.folder)
    log.info("%s, at the end: %s", seed, dict(seen))
    return seen


@pytest.mark.parametrize("seconds", SECONDS)
def test_runs_at_the_same_time_lose_nothing_and_double_nothing(tmp_path: Path, seconds: float) -> None:
    def make_lake(number: int) -> AbstractContextManager[Lake]:
        return nullcontext(Lake(tmp_path / str(number), settings=SMALL_BATCHES))

    assert prove(make_lake, "sqlite", seconds)["runs"] >= WRITERS


@pytest.mark.parametrize("seconds", SECONDS)
def test_runs_at_the_same_time_on_postgresql_lose_nothing_and_double_nothing(
    tmp_path: Path, postgres: PostgresServer, seconds: float
) -> None:
    def make_lake(number: int) -> AbstractContextManager[Lake]:
        return nullcontext(postgres_lake(tmp_path / str(number), postgres.new_schema(), SMALL_BATCHES))

    assert prove(make_lake, "postgresql", seconds)["runs"] >= WRITERS


@pytest.mark.parametrize("seconds", SECONDS[1:])  # two jobs at once on Glue: tests/integration/test_aws.py
def test_runs_at_the_same_time_on_glue_lose_nothing_and_double_nothing(
    tmp_path: Path,
    aws_server: AwsServer,
    aws_environment: None,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
) -> None:
    @contextmanager
    def make_lake(number: int) -> Iterator[Lake]:
        lake = AwsLake(tmp_path / str(number), aws_server, monkeypatch)
        yield lake
        for key in lake.objects():  # the server keeps them in this process
            lake.s3.delete_object(Bucket=lake.lake_bucket, Key=key)
        lake.s3.close()
        aws_server.calls.clear()

    assert prove(make_lake, "glue", seconds)["runs"] >= WRITERS

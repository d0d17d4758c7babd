"""Whatever deliveries, runs, crashes and replays come after each other: what is loaded is what the model says."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from compactor.progress import NullProgress
from compactor.replay import replay
from compactor.source import Hour
from compactor.verify import verify
from histories import DATASETS, Delivery, History
from lake import Lake
from test_protocol import STEPS, overtaken

WRITES = ((PyArrowFile, "create"), (PyArrowFileIO, "delete"), (SqlCatalog, "commit_table"))
QUIET = settings(
    deadline=None,
    derandomize=True,
    database=None,
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


class CrashError(BaseException):
    """The end of a run at one of its writes; not an Exception, so that nothing handles it."""


class LakeMachine(RuleBasedStateMachine):
    """`_unloaded` are the datasets of which something may be pending or unfinished."""

    @initialize(seed=st.integers(0, 2**32), objects=st.sampled_from([1, 2, 1000]))
    def start(self, seed: int, objects: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self._lake = Lake(self._folder, settings=f"batch: {{objects: {objects}}}")
        self._history = History(seed, entities=4, days=3, replaces=False)
        self._random = random.Random(seed)
        self._keys: list[Delivery] = []
        self._unloaded: set[str] = set()
        self._deliver(3, 12)

    def teardown(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @rule(count=st.integers(1, 4), lines=st.sampled_from([1, 5, 20]))
    def deliver(self, count: int, lines: int) -> None:
        self._deliver(count, lines)

    @precondition(lambda self: not self._unloaded)
    @rule(lines=st.integers(1, 10))
    def replace_a_key(self, lines: int) -> None:
        old = self._random.choice(self._keys)
        fresh = next(d for d in self._history.deliveries(40, lines) if d.dataset == old.dataset)
        self._put(Delivery(old.dataset, old.hour, old.part, fresh.lines))

    @rule()
    def compact(self) -> None:
        self._lake.compact(full_scan=True)
        self._unloaded.clear()
        self._check(DATASETS)

    @rule(dataset=st.sampled_from(DATASETS))
    def compact_one_dataset(self, dataset: str) -> None:
        self._lake.compact(datasets=(dataset,), full_scan=True)
        self._unloaded.discard(dataset)
        self._check((dataset,))

    @rule(hour=st.integers(0, 23))
    def compact_some_hours(self, hour: int) -> None:
        self._lake.compact(start=Hour.parse("2026-11-01"), stop=Hour.parse(f"2026-11-02T{hour:02d}"))

    @rule(point=st.integers(1, 40), when=st.sampled_from(["before", "after"]))
    def crash(self, point: int, when: str) -> None:
        writes = 0

        def crashing(original: Callable[..., Any]) -> Callable[..., Any]:
            def write(*arguments: Any, **options: Any) -> Any:
                nonlocal writes
                writes += 1
                if writes == point and when == "before":
                    raise CrashError
                result = original(*arguments, **options)
                if writes == point and when == "after":
                    raise CrashError
                return result

            return write

        with pytest.MonkeyPatch.context() as patch:
            for place, name in WRITES:
                patch.setattr(place, name, crashing(getattr(place, name)))
            try:
                self._lake.compact(full_scan=True)
            except CrashError:
                self._unloaded |= set(DATASETS)
            else:
                self._unloaded.clear()

    @rule(step=st.sampled_from(sorted(STEPS)), count=st.integers(1, 3), more=st.booleans())
    def run_two_at_once(self, step: str, count: int, *, more: bool) -> None:
        def interlude() -> None:
            if more:
                self._deliver(2, 10)
            self._lake.compact(full_scan=True)

        with pytest.MonkeyPatch.context() as patch, overtaken(patch, step, count, interlude):
            self._lake.compact(full_scan=True)
        self._unloaded.clear()
        self._check(DATASETS)

    @rule()
    def replay(self) -> None:
        replay(self._lake.config, self._lake.registry, progress=NullProgress())
        if not self._unloaded:
            self._check(DATASETS)

    def _deliver(self, count: int, lines: int) -> None:
        for delivery in self._history.deliveries(count, lines):
            self._keys.append(delivery)
            self._put(delivery)

    def _put(self, delivery: Delivery) -> None:
        self._unloaded.add(delivery.dataset)
        self._lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)

    def _check(self, datasets: tuple[str, ...]) -> None:
        self._lake.assert_equals_model(datasets)
        if not self._unloaded:
            checks = verify(self._lake.config, self._lake.registry, rebuild=True).checks
            assert [check for check in checks if not check.ok] == []


@pytest.mark.parametrize("examples", [5, pytest.param(1_000, marks=pytest.mark.soak)])
def test_any_sequence_of_steps_ends_as_the_model_says(examples: int) -> None:
    run_state_machine_as_test(LakeMachine, settings=settings(QUIET, max_examples=examples))

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
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from compactor.commands.replay import replay
from compactor.commands.verify.verify import verify
from compactor.lake.own_tables import FILES
from compactor.progress import NullProgress
from compactor.reports.report import RunReport
from compactor.source import Hour, IgnoredKeys, open_source
from tests.support.crashes import WRITES, CrashError
from tests.support.histories import DATASETS, KINDS, SNAPSHOT, Delivery, History
from tests.support.lake import KEYS, Lake
from tests.support.model import Row
from tests.support.overtaking import STEPS, overtaken

QUIET = settings(
    deadline=None,
    derandomize=True,
    database=None,
    stateful_step_count=12,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


class LakeMachine(RuleBasedStateMachine):
    """`_unloaded` are the datasets of which something may be pending or unfinished; `_done` are the objects (dataset,
    key, ETag) that a run has reported as loaded. `settings` are of the config.
    """

    settings = ""

    @initialize(chance=st.integers(0, 2**32), objects=st.sampled_from([1, 2, 1000]))
    def start(self, chance: int, objects: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self._lake = Lake(self._folder, settings=f"batch: {{objects: {objects}}}\n{self.settings}")
        self._history = History(chance, entities=4, days=3, replaces=False)
        self._random = random.Random(chance)
        self._keys: list[Delivery] = []
        self._unloaded: set[str] = set()
        self._done: set[tuple[str, str, str]] = set()
        self._read: dict[str, tuple[str, list[Row]]] = {}
        for delivery in self._history.deliveries(3, 12):
            self._put(delivery)

    def teardown(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    # The steps.

    @rule(count=st.integers(1, 4), lines=st.sampled_from([1, 5, 20]))
    def deliver(self, count: int, lines: int) -> None:
        for delivery in self._history.deliveries(count, lines):
            self._put(delivery)

    @rule(kind=st.sampled_from([*KINDS, SNAPSHOT]), lines=st.integers(1, 10))
    def deliver_one_kind(self, kind: str, lines: int) -> None:
        self._put(self._history.of_kind(kind, lines))

    @precondition(lambda self: not self._unloaded)
    @rule(lines=st.integers(1, 10))
    def replace_a_key(self, lines: int) -> None:
        old = self._random.choice(self._keys)
        fresh = next(d for d in self._history.deliveries(40, lines) if d.dataset == old.dataset)
        self._put(Delivery(old.dataset, old.hour, old.part, fresh.lines))

    @rule()
    def compact(self) -> None:
        self._compact(DATASETS)
        self._lake.assert_equals_model(DATASETS)

    @rule(dataset=st.sampled_from(DATASETS))
    def compact_one_dataset(self, dataset: str) -> None:
        self._compact((dataset,))
        self._lake.assert_equals_model((dataset,))

    @rule(hour=st.integers(0, 23))
    def compact_some_hours(self, hour: int) -> None:
        last = Hour.parse(f"2026-11-02T{hour:02d}")
        present = {found for found in self._present(DATASETS) if (Hour.of_key(found[1]) or last) <= last}
        self._report(present, self._lake.compact(start=Hour.parse("2026-11-01"), stop=last))

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
                self._compact(DATASETS)
            except CrashError:
                self._unloaded |= set(DATASETS)

    @rule(step=st.sampled_from(sorted(STEPS)), count=st.integers(1, 3), more=st.booleans())
    def run_two_at_once(self, step: str, count: int, *, more: bool) -> None:
        def interlude() -> None:
            if more:
                self.deliver(2, 10)
            self._compact(DATASETS)

        present = self._present(DATASETS)
        with pytest.MonkeyPatch.context() as patch, overtaken(patch, step, count, interlude):
            self._report(present, self._lake.compact(full_scan=True))
        self._unloaded.clear()
        self._lake.assert_equals_model(DATASETS)

    @rule()
    def replay(self) -> None:
        replay(self._lake.config, self._lake.registry, progress=NullProgress())
        if not self._unloaded:
            self._lake.assert_equals_model(DATASETS)

    @rule()
    def verify(self) -> None:
        """A batch that was stopped is named as such; nothing else ever fails."""
        if not self._lake.tables.exists(FILES):
            return
        checks = verify(self._lake.config, self._lake.registry, rebuild=True).checks
        if all(check.ok for check in checks if check.name == "nothing unfinished"):
            assert [check for check in checks if not check.ok] == []
        else:
            assert self._unloaded

    # What holds after each step, also where something is pending or unfinished.

    @invariant()
    def nothing_is_doubled_lost_or_out_of_nowhere(self) -> None:
        ledger = self._rows(FILES, ["dataset", "key", "etag", "lines", "new", "duplicates", "quarantined"])
        entries = {(row["dataset"], row["key"], row["etag"]) for row in ledger}
        assert len(entries) == len(ledger), "a duplicate object in the ledger"
        assert all(row["lines"] == row["new"] + row["duplicates"] + row["quarantined"] for row in ledger)
        assert self._done <= entries, "an object that was reported as loaded is not in the ledger"
        for dataset in self._lake.registry.datasets.values():
            history = self._rows(dataset.history_table, ["id"])
            ids = {row["id"] for row in history}
            assert len(ids) == len(history), "a duplicate id in the history"
            assert ids <= self._lake.model.history(dataset.name).keys(), "a record that nobody delivered"
            assert sum(row["new"] for row in ledger if row["dataset"] == dataset.name) <= len(ids)
            if dataset.current_table:
                key = KEYS[dataset.name]
                current = self._rows(dataset.current_table, [*key, "id"])
                assert len({tuple(row[name] for name in key) for row in current}) == len(current), "a duplicate key"
                assert {row["id"] for row in current} <= ids, "a current row that history does not have"

    def _rows(self, name: str, columns: list[str]) -> list[Row]:
        """Columns of a table; read again only where it has changed."""
        if not self._lake.tables.exists(name):
            return []
        table = self._lake.tables.table(name)
        version = table.metadata_location
        if self._read.get(name, ("", []))[0] != version:
            self._read[name] = version, [row for batch in table.scan(columns).batches for row in batch.to_pylist()]
        return self._read[name][1]

    def _put(self, delivery: Delivery) -> None:
        self._keys.append(delivery)
        self._unloaded.add(delivery.dataset)
        self._lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)

    def _compact(self, datasets: tuple[str, ...]) -> None:
        present = self._present(datasets)
        self._report(present, self._lake.compact(datasets=datasets, full_scan=True))
        self._unloaded -= set(datasets)

    def _present(self, datasets: tuple[str, ...]) -> set[tuple[str, str, str]]:
        """The objects that the source has now."""
        source = open_source(self._lake.config.source)
        return {
            (name, found.key, found.etag) for name in datasets for found in source.list(name, None, None, IgnoredKeys())
        }

    def _report(self, present: set[tuple[str, str, str]], report: RunReport) -> None:
        assert report.exit_code in (0, 3)
        self._done |= present

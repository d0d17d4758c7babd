"""One run of a verb that loads: its identity, what it has done per dataset, and its row in the table of runs."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from compactor.lake.catalog import Lakehouse
from compactor.progress import Progress
from compactor.publish import ledger
from compactor.publish.accounting import Totals
from compactor.publish.protocol import Published
from compactor.registry.dataset import Dataset
from compactor.reports.report import DatasetReport, RunReport
from compactor.source import Hour


@dataclass(frozen=True)
class Run:
    """A run of `verb`. Its id sorts by time: the UTC second and eight random hex digits."""

    run_id: str
    verb: str
    started_at: dt.datetime
    lake: Lakehouse
    progress: Progress

    @classmethod
    def begin(cls, verb: str, lake: Lakehouse, progress: Progress) -> Run:
        now = ledger.now()
        return cls(f"{now:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}", verb, now, lake, progress)

    def report(self, datasets: Sequence[DatasetReport] = (), *, left_to: str | None = None) -> RunReport:
        return RunReport(self.run_id, self.started_at, ledger.now(), tuple(datasets), left_to)


@dataclass
class Tally:
    """What a run has done for one dataset so far. `failed` are objects left pending: (key, reason)."""

    started_at: dt.datetime
    objects: int = 0
    lines: int = 0
    new: int = 0
    duplicates: int = 0
    quarantined: int = 0
    raw_bytes: int = 0
    unknown_fields: int = 0
    ignored: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    unknown_versions: dict[str, str] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)

    def add(self, totals: Totals, published: Published) -> None:
        """Adds what a published batch made of its lines."""
        self.new += totals.new
        self.duplicates += totals.duplicates
        self.snapshots.update(published.snapshots)

    def report(self, dataset: Dataset, *, seconds: float) -> DatasetReport:
        return DatasetReport(
            dataset=dataset.name,
            objects=self.objects,
            lines=self.lines,
            new=self.new,
            duplicates=self.duplicates,
            quarantined=self.quarantined,
            raw_bytes=self.raw_bytes,
            unknown_fields=self.unknown_fields,
            ignored=self.ignored,
            failed=tuple(self.failed),
            unknown_versions=tuple(sorted(self.unknown_versions.items())),
            snapshots=self.snapshots,
            seconds=seconds,
        )


def record(
    run: Run, dataset: Dataset, tally: Tally, frontier: Hour | None = None, after: ledger.LastRun | None = None
) -> None:
    """Writes the run's row for a dataset. As to `frontier` and `after`, see `ledger.record_run`."""
    row = {
        "run_id": run.run_id,
        "dataset": dataset.name,
        "verb": run.verb,
        "started_at": tally.started_at,
        "objects": tally.objects,
        "lines": tally.lines,
        "new": tally.new,
        "duplicates": tally.duplicates,
        "quarantined": tally.quarantined,
        "failed_objects": len(tally.failed),
        "raw_bytes": tally.raw_bytes,
        "history_snapshot_id": tally.snapshots.get(dataset.history_table),
        "current_snapshot_id": tally.snapshots.get(dataset.current_table or ""),
    }
    ledger.record_run(run.lake, row, frontier, after)

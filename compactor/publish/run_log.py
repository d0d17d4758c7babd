"""One run of a verb that loads: its identity, what it has done per dataset, and its row in the table of runs."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from compactor.decode.rejections import MOST_VERSIONS, Rejections
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import RUNS, stored_name
from compactor.lake.table import Table
from compactor.progress import Progress
from compactor.publish import past, upsert
from compactor.publish.accounting import Totals
from compactor.publish.protocol import Published
from compactor.registry.dataset import Dataset
from compactor.reports.report import DatasetReport, RunReport
from compactor.source import Hour
from compactor.version import __version__


def now() -> dt.datetime:
    """The present as the tables keep times: UTC, microseconds."""
    return dt.datetime.now(dt.UTC)


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
        at = now()
        return cls(f"{at:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:8]}", verb, at, lake, progress)

    def report(self, datasets: Sequence[DatasetReport] = (), *, left_to: str | None = None) -> RunReport:
        problems = tuple(problem for dataset in datasets for problem in dataset.problems)
        return RunReport(self.run_id, self.started_at, now(), tuple(datasets), left_to, problems)


@dataclass
class Tally:
    """What a run has done for one dataset so far. `failed` are objects that stay pending: (key, reason)."""

    started_at: dt.datetime = field(default_factory=lambda: now())  # noqa: PLW0108  looked up late, so that a test can set the clock
    objects: int = 0
    lines: int = 0
    new: int = 0
    duplicates: int = 0
    quarantined: int = 0
    raw_bytes: int = 0
    unknown_fields: int = 0
    ignored: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    columns_left: int = 0
    rejections: Rejections = field(default_factory=Rejections)
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
            columns_left=self.columns_left,
            reasons=dict(self.rejections.reasons),
            beyond_replay=self.rejections.beyond_replay,
            unknown_versions=tuple(
                (*found, lines) for found, lines in self.rejections.versions.most_common(MOST_VERSIONS)
            ),
            no_records=tuple((what, *found) for what, found in sorted(self.rejections.files.items())),
            snapshots=self.snapshots,
            seconds=seconds,
        )


@dataclass(frozen=True)
class LastRun:
    """The newest run that listed a dataset; `watermark` is the hour up to which everything was listed and loaded."""

    run_id: str
    watermark: Hour


def last_run(relations: Relations, lake: Lakehouse, dataset: str, *, tag: str | None = None) -> LastRun | None:
    """The newest run over a dataset, by the times that `record` has put in order; None before the first.

    With a tag, as the runs were then.
    """
    runs, where = lake.find(RUNS), {"dataset": dataset}
    if runs is None:
        return None
    snapshot_id = runs.tagged(tag) if tag else None
    reached = stored_name(runs if snapshot_id is None else runs.at(snapshot_id), "watermark")
    columns = ["run_id", reached, "finished_at"]
    found_rows = past.scan(runs, columns, where, tag) if tag else runs.scan(columns, where=where).batches
    with relations.arrow("runs", found_rows) as rows:
        found = relations.con.execute(
            f"SELECT run_id, {reached} FROM {rows} WHERE {reached} IS NOT NULL ORDER BY finished_at DESC LIMIT 1"
        ).fetchone()
    return LastRun(found[0], Hour.parse(found[1])) if found else None


def record(
    run: Run, dataset: Dataset, tally: Tally, watermark: Hour | None = None, after: LastRun | None = None
) -> None:
    """Writes the run's row for a dataset, as the newest of its runs.

    Its time is never before that of a run that is there: the newest run says where the next one lists from, and a clock
    can be set back. And where another run was recorded since this one has listed (`after`), what that one left pending
    must not be hidden: of the two watermarks the earlier stays.
    """
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
        "version": __version__,
    }

    def dated(relations: Relations, table: Table) -> Relation:
        """The row with its place among the runs that the table has."""
        with relations.arrow(
            "finished", table.scan(["finished_at"], where={"dataset": dataset.name}).batches
        ) as finished_at:
            (newest,) = relations.con.execute(
                f"SELECT coalesce(epoch_us(max(finished_at)), -1) FROM {finished_at}"
            ).fetchall()[0]
        finished = max(now(), dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=newest + 1))
        last = last_run(relations, run.lake, dataset.name)
        reached = min(watermark, last.watermark) if watermark and last and last != after else watermark
        place = {"finished_at": finished, "watermark": str(reached) if reached else None}
        return relations.stored("run", pa.Table.from_pylist([row | place], table.schema))

    with session.session(run.lake.config.resources) as con:
        upsert.put(run.lake, con, RUNS, upsert.RUN, dated, commit_id=uuid.uuid4().hex, run_id=run.run_id)

"""One run of a verb that loads: its identity, what it has done per dataset, and its rows in the table of runs."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import pyarrow as pa

from compactor.decode.rejections import MOST_VERSIONS, Rejections
from compactor.duck import session
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import quote
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import RUNS, stored_name
from compactor.lake.table import Table
from compactor.progress import Progress
from compactor.publish import upsert
from compactor.publish.accounting import Totals
from compactor.publish.protocol import Published
from compactor.registry.dataset import Dataset
from compactor.reports.report import DatasetReport, Problem, RunReport
from compactor.request_counts import Requests
from compactor.source import Hour
from compactor.version import __version__

MOST_FAILURES = 10
"""The objects whose reason a row of the table of runs has; its `failed_objects` counts all."""
MOST_CHARACTERS = 2_000
"""Of its `error`."""

_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


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

    def report(
        self,
        datasets: Sequence[DatasetReport] = (),
        *,
        left_to: str | None = None,
        problems: Sequence[Problem] = (),
        requests: Requests | None = None,
    ) -> RunReport:
        found = (*problems, *(problem for dataset in datasets for problem in dataset.problems))
        return RunReport(self.run_id, self.started_at, now(), tuple(datasets), left_to, found, requests)


@dataclass(frozen=True)
class LastRun:
    """The newest run that moved a dataset's watermark: the hour up to which everything was listed and loaded."""

    run_id: str
    watermark: Hour


@dataclass
class Tally:
    """What a run has done for one dataset so far.

    Attributes:
        acknowledged_lines: how many of `quarantined` a person has acknowledged.
        acknowledged_objects: objects that a person has acknowledged, and that were not read.
        failed: objects that stay pending: (key, reason).
        error: why the dataset failed; None if it has not.
        watermark: where the run leaves the watermark; None: where it was.
        after: the newest run before this one.
    """

    started_at: dt.datetime = field(default_factory=lambda: now())  # noqa: PLW0108  looked up late, so that a test can set the clock
    listed: int = 0
    objects: int = 0
    lines: int = 0
    new: int = 0
    duplicates: int = 0
    quarantined: int = 0
    acknowledged_lines: int = 0
    acknowledged_objects: int = 0
    raw_bytes: int = 0
    unknown_fields: int = 0
    unfit: Counter[str] = field(default_factory=Counter)
    ignored: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    columns_left: int = 0
    rejections: Rejections = field(default_factory=Rejections)
    snapshots: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    watermark: Hour | None = None
    after: LastRun | None = None

    def add(self, totals: Totals, published: Published) -> None:
        """Adds what a published batch made of its lines."""
        self.new += totals.new + published.taken_over
        self.duplicates += totals.duplicates - published.taken_over
        self.snapshots.update(published.snapshots)

    def report(self, dataset: Dataset, *, seconds: float) -> DatasetReport:
        return DatasetReport(
            dataset=dataset.name,
            listed=self.listed,
            objects=self.objects,
            lines=self.lines,
            new=self.new,
            duplicates=self.duplicates,
            quarantined=self.quarantined,
            acknowledged_lines=self.acknowledged_lines,
            acknowledged_objects=self.acknowledged_objects,
            raw_bytes=self.raw_bytes,
            unknown_fields=self.unknown_fields,
            unfit=dict(self.unfit),
            ignored=self.ignored,
            failed=tuple(self.failed),
            columns_left=self.columns_left,
            reasons=dict(sorted(self.rejections.reasons.items())),
            beyond_replay=self.rejections.beyond_replay,
            unknown_versions=tuple(
                (*found, lines) for found, lines in self.rejections.versions.most_common(MOST_VERSIONS)
            ),
            no_records=tuple((what, *found) for what, found in sorted(self.rejections.files.items())),
            snapshots=self.snapshots,
            seconds=seconds,
        )


def last_run(relations: Relations, lake: Lakehouse, dataset: str, *, tag: str | None = None) -> LastRun | None:
    """The newest run that moved a dataset's watermark, by the times that `record` has put in order; None before the
    first.

    With a tag, as the runs were then.
    """
    runs = lake.find(RUNS)
    if runs is not None and tag is not None:
        snapshot_id = runs.tagged(tag)
        runs = None if snapshot_id is None else runs.at(snapshot_id)
    return None if runs is None else _last(relations, runs, dataset)


def _last(relations: Relations, runs: Table, dataset: str) -> LastRun | None:
    reached, where = stored_name(runs, "watermark"), {"dataset": dataset}
    found = _newest(relations, runs, ["run_id", reached], where, filled=[reached])
    return LastRun(found[0], Hour.parse(found[1])) if found else None


def _newest(
    relations: Relations, runs: Table, columns: Sequence[str], where: Mapping[str, str], filled: Sequence[str] = ()
) -> tuple[Any, ...] | None:
    """Columns, then `finished_at`, of the row that was recorded last; None without a row.

    It reads the newest files alone: the list grows with each run, and this is asked several times in each.
    """
    found: tuple[Any, ...] | None = None
    names = [*columns, "finished_at"]
    # DuckDB needs another package to give a time with a zone to Python.
    wanted = ", ".join([*map(quote, columns), "epoch_us(finished_at)"])
    has_all = " AND ".join(["true", *(f"{quote(name)} IS NOT NULL" for name in filled)])
    for file, newest in runs.newest_first("finished_at", where=where, filled=filled):
        if found and newest and newest <= found[-1]:
            break
        scan = runs.scan(names, where=where, paths=[file.file_path])
        with relations.arrow("runs" if columns else "finished", scan.batches) as rows:
            statement = f"SELECT {wanted} FROM {rows} WHERE {has_all} ORDER BY finished_at DESC LIMIT 1"
            here = relations.con.execute(statement).fetchone()
        if here:
            dated = (*here[:-1], _EPOCH + dt.timedelta(microseconds=here[-1]))
            found = max(found or dated, dated, key=itemgetter(-1))
    return found


def record(run: Run, done: Sequence[tuple[Dataset, Tally]]) -> None:
    """Writes the run's rows for datasets, as the newest of their runs, in one commit.

    Their time is never before that of a run that is there: the newest run says where the next one lists from, and a
    clock can be set back. And where another run was recorded since this one has listed (`Tally.after`), what that one
    left pending must not be hidden: of the two watermarks the earlier stays.
    """

    def dated(relations: Relations, runs: Table) -> Relation:
        """The rows with their place among the runs that the table has."""
        newest = _newest(relations, runs, [], {})
        finished = max(now(), newest[-1] + dt.timedelta(microseconds=1)) if newest else now()
        rows = []
        for dataset, tally in done:
            reached = tally.watermark
            if reached and (last := _last(relations, runs, dataset.name)) and last != tally.after:
                reached = min(reached, last.watermark)
            rows.append(
                _row(run, dataset, tally) | {"finished_at": finished, "watermark": str(reached) if reached else None}
            )
        return relations.stored("run", pa.Table.from_pylist(rows, runs.schema))

    with session.session(run.lake.config.resources) as con:
        upsert.put(run.lake, con, RUNS, upsert.RUN, dated, commit_id=uuid.uuid4().hex, run_id=run.run_id)


def _row(run: Run, dataset: Dataset, tally: Tally) -> dict[str, Any]:
    failures = [{"key": key, "reason": reason} for key, reason in tally.failed[:MOST_FAILURES]]
    return {
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
        "listed": tally.listed,
        "failures": json.dumps(failures) if failures else None,
        "error": tally.error[:MOST_CHARACTERS] if tally.error else None,
    }

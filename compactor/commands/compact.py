"""The nightly job: find what is pending, read it, merge it, commit it, and write down that it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from compactor.commands.drift import evolve
from compactor.config import Batch as BatchLimits
from compactor.config import Config, EngineName, IfRunning
from compactor.duck.session import session as engine_session
from compactor.engines import choice
from compactor.engines.base import Batch, Engine
from compactor.errors import UsageError
from compactor.lake.catalog import Lakehouse
from compactor.progress import Progress
from compactor.publish import accounting, lease, ledger
from compactor.publish.protocol import publish, settled
from compactor.publish.run_log import Run, Tally, record
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import DatasetReport, RunReport
from compactor.source import Hour, IgnoredKeys, Source, SourceObject, open_source

log = logging.getLogger(__name__)

_LISTING_SHARE = 1 / 8


def compact(
    config: Config,
    registry: Registry,
    *,
    datasets: tuple[str, ...] = (),
    start: Hour | None = None,
    stop: Hour | None = None,
    full_scan: bool = False,
    if_running: IfRunning | None = None,
    engine: EngineName | None = None,
    progress: Progress,
) -> RunReport:
    """Loads all pending objects of the datasets (default: all that the registry has) and reports what was done.

    Args:
        start, stop: only objects of these UTC hours, both inclusive.
        full_scan: list from the first hour on instead of from the window before the newest loaded one.
        if_running: what to do if another run is under way. Default: as the config says.
        engine: what reads and merges. Default: as the config says.

    Raises:
        UsageError: an unknown dataset, or contradictory options.
        SourceError: the source cannot be listed.
        CompactorError: the catalog or the storage of the tables failed.
    """
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    if full_scan and start:
        raise UsageError("--full-scan lists from the first hour on; leave out --from")
    if start and stop and stop < start:
        raise UsageError(f"--from {start} is after --to {stop}")
    source = open_source(config.source)
    _warn_of_unknown(source, registry)
    lake = Lakehouse(config)
    lake.ensure_own()
    run = Run.begin("compact", lake, progress)
    with lease.held(run, if_running or config.if_running) as other:
        if other:
            return run.report(left_to=other.run_id)
        for dataset in chosen:
            evolve.complete(lake, dataset)
        lake.ensure(registry, [dataset.name for dataset in chosen])
        with choice.opened(config, engine) as (open_batch, limits):
            job = _Job(run, source, open_batch, limits, start, stop, full_scan)
            return run.report([_compact_dataset(job, dataset) for dataset in chosen])


@dataclass(frozen=True)
class _Job:
    """What the steps of one run have in common. `limits` say how much goes into one commit."""

    run: Run
    source: Source
    open_batch: Engine
    limits: BatchLimits
    start: Hour | None
    stop: Hour | None
    full_scan: bool


def _compact_dataset(job: _Job, listed: Dataset) -> DatasetReport:
    began = time.monotonic()
    tally = Tally(started_at=ledger.now())
    for attempt in ledger.on_new_shape():
        with attempt:
            dataset = job.run.lake.shaped(listed)
            _load_pending(job, dataset, tally)
    if listed.additive == "evolve" and tally.unknown_fields:
        evolve.evolve(job.run.lake, listed)
    return tally.report(dataset, seconds=time.monotonic() - began)


def _load_pending(job: _Job, dataset: Dataset, tally: Tally) -> None:
    run, ignored = job.run, IgnoredKeys()
    settled(run.lake, dataset, job.open_batch)
    with engine_session(run.lake.config.resources, share=_LISTING_SHARE) as con:  # stays open beside the batches'
        listed = ledger.list_pending(
            con, run.lake, job.source, dataset.name, ignored, start=job.start, stop=job.stop, full_scan=job.full_scan
        )
        count, size = con.execute("SELECT count(*), coalesce(sum(size), 0) FROM pending").fetchall()[0]
        if count:
            run.progress.start(dataset.name, int(count), int(size))
            for objects in _batches(con, dataset.name, job.limits):
                _load_batch(job, dataset, objects, tally)
            run.progress.finish()
    tally.ignored = ignored.count
    if ignored.count:
        log.info(
            "%s: ignored %d objects that are not exports, such as %s", dataset.name, ignored.count, ignored.examples[0]
        )
    if tally.objects or tally.failed:
        record(run, dataset, tally, _frontier(listed, job.start, tally), listed.after)


def _load_batch(job: _Job, dataset: Dataset, objects: Sequence[SourceObject], tally: Tally) -> None:
    """Reads a batch once, then plans and publishes it, again from a fresh load after each conflict."""
    run, lake = job.run, job.run.lake
    with job.open_batch(lake, dataset) as batch:
        run.progress.stage("reading")
        loaded = batch.read(job.source, objects, run.progress)
        for attempt in ledger.on_conflict(lake.config.commit.attempts):
            with attempt:
                run.progress.stage("merging")
                history = settled(lake, dataset, job.open_batch)
                _drop_known(batch, lake, dataset)
                planned, rewrite = batch.plan(history)
                totals = accounting.enter(batch.con, dataset.name, loaded.lines, planned.new, run.run_id, ledger.now())
                run.progress.stage("committing")
                published = publish(
                    lake, batch, dataset, history, planned, rewrite, run_id=run.run_id, open_batch=job.open_batch
                )
        tally.unknown_versions |= batch.unknown_versions()
        tally.objects += batch.con.execute("SELECT count(*) FROM files").fetchall()[0][0]
        tally.unknown_fields += batch.count_unknown()
    tally.lines += totals.lines
    tally.quarantined += totals.quarantined
    tally.raw_bytes += loaded.raw_bytes
    tally.failed += [(objects[file_no].key, reason) for file_no, reason in sorted(loaded.failed.items())]
    tally.add(totals, published)


def _drop_known(batch: Batch, lake: Lakehouse, dataset: Dataset) -> None:
    """Takes out what another run has loaded since this one listed it."""
    ledger.load_known(batch.con, lake, dataset.name)
    loaded = batch.con.execute("SELECT file_no FROM files SEMI JOIN known USING (key, etag)").fetchall()
    batch.drop([file_no for (file_no,) in loaded])


def _batches(con: duckdb.DuckDBPyConnection, dataset: str, limits: BatchLimits) -> Iterator[list[SourceObject]]:
    """The pending objects in the order of their hours, in batches of limited count and size."""
    batch: list[SourceObject] = []
    size = 0
    pending = con.execute("SELECT key, etag, size FROM pending ORDER BY key")
    while rows := pending.fetchmany(10_000):
        for key, etag, length in rows:
            if batch and (len(batch) >= limits.objects or size + length > limits.bytes):
                yield batch
                batch, size = [], 0
            hour = Hour.of_key(key)
            assert hour is not None
            batch.append(SourceObject(dataset, key, etag, length, hour))
            size += length
    if batch:
        yield batch


def _frontier(listed: ledger.Listed, start: Hour | None, tally: Tally) -> Hour | None:
    """The hour up to which everything is loaded, so that the next run's window can begin before it.

    A run over chosen hours that leaves a gap does not move it, and an object left pending holds it back.
    """
    reached = before = listed.frontier
    gap = start is not None and (before is None or before < start)
    if listed.newest and not gap:
        reached = max(before, listed.newest) if before else listed.newest
    for key, _ in tally.failed:
        hour = Hour.of_key(key)
        reached = min(reached, hour) if reached and hour else reached
    return reached


def _warn_of_unknown(source: Source, registry: Registry) -> None:
    for name in source.datasets():
        if name not in registry.datasets:
            log.warning("the source has a dataset %r that the registry does not know; nothing of it is loaded", name)

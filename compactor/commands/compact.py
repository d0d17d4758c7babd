"""The nightly job: find what is pending, read it, merge it, commit it, and record that it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from compactor.commands.drift import evolve
from compactor.config import Batch as BatchLimits
from compactor.config import Config, EngineName, IfRunning
from compactor.decode.decoded import Decoded
from compactor.duck.relations import Relations
from compactor.duck.session import session as engine_session
from compactor.engines import choice
from compactor.engines.base import Engine
from compactor.errors import UsageError
from compactor.lake.catalog import Lakehouse
from compactor.progress import Progress
from compactor.publish import lease, pending, run_log
from compactor.publish.accounting import account
from compactor.publish.protocol import publish, settled
from compactor.publish.retry import on_conflict, on_table_version
from compactor.publish.run_log import Run, Tally
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
    _warn_about_unknown(source, registry)
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
    tally = Tally()
    for attempt in on_table_version():
        with attempt:
            dataset = job.run.lake.at_table_version(listed)
            _load_pending(job, dataset, tally)
    if listed.additive == "evolve" and tally.unknown_fields:
        tally.columns_left = evolve.evolve(job.run.lake, listed)
    return tally.report(dataset, seconds=time.monotonic() - began)


def _load_pending(job: _Job, dataset: Dataset, tally: Tally) -> None:
    """A dataset's night: list, then read, decide, account and publish batch by batch, then record."""
    run, ignored = job.run, IgnoredKeys()
    settled(run.lake, dataset, job.open_batch)
    # The listing stays open beside the batches, in a session of its own.
    with engine_session(run.lake.config.resources, share=_LISTING_SHARE) as con, Relations(con) as relations:
        listing = pending.list_pending(
            relations,
            run.lake,
            job.source,
            dataset.name,
            ignored,
            start=job.start,
            stop=job.stop,
            full_scan=job.full_scan,
        )
        if listing.objects:
            run.progress.start(dataset.name, listing.objects, listing.size)
            for objects in pending.batches(relations, listing, dataset.name, job.limits):
                _load_batch(job, dataset, objects, tally)
            run.progress.finish()
    tally.ignored = ignored.count
    if ignored.count:
        log.info(
            "%s: ignored %d objects that are not exports, such as %s", dataset.name, ignored.count, ignored.examples[0]
        )
    if tally.objects or tally.failed:
        run_log.record(
            run, dataset, tally, listing.watermark(job.start, [key for key, _ in tally.failed]), listing.after
        )


def _load_batch(job: _Job, dataset: Dataset, objects: Sequence[SourceObject], tally: Tally) -> None:
    """Reads a batch once, then decides, accounts and publishes it, again from a fresh load after each conflict."""
    run, lake = job.run, job.run.lake
    with job.open_batch(lake, dataset) as batch:
        run.progress.stage("reading")
        decoded = batch.read(job.source, objects, run.progress)
        for attempt in on_conflict(lake.config.commit.attempts):
            with attempt, Relations(batch.con) as relations:
                run.progress.stage("merging")
                history = settled(lake, dataset, job.open_batch)
                decoded = batch.drop(decoded, _loaded_meanwhile(relations, lake, dataset, decoded))
                plan = batch.plan(relations, decoded, history)
                accounts = account(relations, dataset.name, decoded, plan.new, run.run_id, run_log.now())
                run.progress.stage("committing")
                published = publish(
                    lake,
                    batch,
                    dataset,
                    history,
                    plan,
                    accounts.entries,
                    run_id=run.run_id,
                    open_batch=job.open_batch,
                )
        tally.rejections.add(batch.con, decoded)
        tally.objects += batch.relations.count(decoded.files)
        tally.unknown_fields += batch.count_unknown(decoded)
    tally.lines += accounts.totals.lines
    tally.quarantined += accounts.totals.quarantined
    tally.raw_bytes += decoded.raw_bytes
    tally.failed += [(objects[file_no].key, reason) for file_no, reason in sorted(decoded.failed.items())]
    tally.add(accounts.totals, published)


def _loaded_meanwhile(relations: Relations, lake: Lakehouse, dataset: Dataset, decoded: Decoded[object]) -> list[int]:
    """The file_no of each object that another run has loaded since this one listed it."""
    loaded = pending.loaded_objects(relations, lake, dataset.name)
    found = relations.con.execute(
        f"SELECT file_no FROM {decoded.files} SEMI JOIN {loaded} USING (key, etag)"
    ).fetchall()
    return [file_no for (file_no,) in found]


def _warn_about_unknown(source: Source, registry: Registry) -> None:
    for name in source.datasets():
        if name not in registry.datasets:
            log.warning("the source has a dataset %r that the registry does not know; nothing of it is loaded", name)

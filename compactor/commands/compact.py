"""The nightly job: find what is pending, read it, merge it, commit it, and record that it is done."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import duckdb

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
from compactor.lake.marks import Marks
from compactor.lake.retry import on_conflict, on_table_version
from compactor.progress import Progress
from compactor.publish import acknowledged, arrivals, lease, pending, presence, run_log
from compactor.publish.accounting import account
from compactor.publish.night import Night
from compactor.publish.protocol import publish, settled
from compactor.publish.run_log import Run, Tally
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import RunReport
from compactor.request_counts import Requests
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
    allow_empty_source: bool = False,
    progress: Progress,
) -> RunReport:
    """Loads all pending objects of the datasets (default: all that the registry has) and reports what was done.

    Each dataset ends on its own: what fails for one is in `problems` of the report.

    Args:
        start, stop: only objects of these UTC hours, both inclusive.
        full_scan: list from the first hour on instead of from the window before the newest loaded one.
        if_running: what to do if another run is under way. Default: as the config says.
        engine: what reads and merges. Default: as the config says.
        allow_empty_source: a source without any export is no failure.

    Raises:
        UsageError: an unknown dataset, contradictory options, or a registry that the tables of no dataset fit.
        SourceError: the source as a whole cannot be listed.
        CompactorError: the catalog, or the storage of the program's own tables, failed.
    """
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    if full_scan and start:
        raise UsageError("--full-scan lists from the first hour on; leave out --from")
    if start and stop and stop < start:
        raise UsageError(f"--from {start} is after --to {stop}")
    source = open_source(config.source)
    lake = Lakehouse(config)
    marked = presence.check_own(lake, registry)
    lake.ensure_own()
    run = Run.begin("compact", lake, progress)
    with lease.held(run, if_running or config.if_running) as other:
        if other:
            return run.report(left_to=other.run_id)
        with (
            choice.opened(config, engine) as (open_batch, limits),
            # A listing stays open beside its batches, so the listings have a session of their own.
            engine_session(config.resources, share=_LISTING_SHARE) as listings,
            Night(run, chosen) as night,
        ):
            night.note(arrivals.check(config.source, source, registry, lake, allow_empty=allow_empty_source))
            job = _Job(night, registry, source, listings, marked, open_batch, limits, start, stop, full_scan)
            night.each(partial(_compact_dataset, job))
        presence.record(lake, chosen, run.run_id)
        return night.report(Requests.of(source.requests, lake.requests))


@dataclass(frozen=True)
class _Job:
    """What the steps of one run have in common.

    Attributes:
        listings: the session in which what is pending is found.
        marked: the marks as they were at the start.
        limits: how much goes into one commit.
    """

    night: Night
    registry: Registry
    source: Source
    listings: duckdb.DuckDBPyConnection
    marked: Marks | None
    open_batch: Engine
    limits: BatchLimits
    start: Hour | None
    stop: Hour | None
    full_scan: bool

    @property
    def run(self) -> Run:
        return self.night.run


def _compact_dataset(job: _Job, listed: Dataset, tally: Tally) -> None:
    lake = job.run.lake
    presence.check(lake, job.registry, listed, job.marked)
    evolve.complete(lake, listed)
    lake.ensure(job.registry, [listed.name])
    for attempt in on_table_version():
        with attempt:
            # After a migration by another run, as it is now.
            dataset = lake.at_table_version(listed, seen=attempt.retry_state.attempt_number == 1)
            _load_pending(job, dataset, tally)
    if listed.additive == "evolve" and tally.unknown_fields:
        tally.columns_left = evolve.evolve(lake, listed)


def _load_pending(job: _Job, dataset: Dataset, tally: Tally) -> None:
    """A dataset's night: list, then read, decide, account and publish batch by batch, then record."""
    run, ignored = job.run, IgnoredKeys()
    settled(run.lake, dataset, job.open_batch)
    with Relations(job.listings) as relations:
        listing = pending.list_pending(
            relations,
            run.lake,
            job.source,
            dataset.name,
            ignored,
            after=job.night.last(relations, dataset),
            start=job.start,
            stop=job.stop,
            full_scan=job.full_scan,
        )
        tally.listed, tally.after, tally.watermark = listing.listed, listing.after, listing.held_back
        tally.failed.clear()  # of a start before the tables were migrated: they are pending again
        if listing.objects:
            run.progress.start(dataset.name, listing.objects, listing.size)
            for objects in pending.batches(relations, listing, dataset.name, job.limits):
                _load_batch(job, dataset, objects, tally)
            run.progress.finish()
        if listing.acknowledged:  # counted now: what was delivered again, and loaded, is no longer among them
            tally.acknowledged_objects = relations.count(acknowledged.objects(relations, run.lake, dataset.name))
    tally.ignored = ignored.count
    if ignored.count:
        log.info(
            "%s: ignored %d objects that are not exports, such as %s", dataset.name, ignored.count, ignored.examples[0]
        )
    tally.watermark = None
    if tally.objects or tally.failed:
        tally.watermark = listing.watermark(job.start, [key for key, _ in tally.failed])
        job.night.record(dataset, tally)


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
        if accounts.totals.quarantined:
            tally.acknowledged_lines += acknowledged.count_lines(
                batch.relations, lake, dataset.name, decoded.rejected, decoded.files
            )
        tally.rejections.add(batch.con, decoded)
        tally.objects += batch.relations.count(decoded.files)
        tally.unknown_fields += batch.count_unknown(decoded)
        tally.unfit.update(batch.count_unfit(decoded))
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

"""The nightly job: find what is pending, read it, merge it, commit it, and write down that it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

import duckdb

from compactor import accounts, engine, evolve, lease, ledger
from compactor.catalog import Lakehouse
from compactor.config import Config, IfRunning
from compactor.errors import UsageError
from compactor.load import count_unknown, drop_files, read_batch, unknown_versions
from compactor.progress import Progress
from compactor.publish import plan, publish, settled
from compactor.registry import Dataset, Registry
from compactor.report import DatasetReport, RunReport
from compactor.runs import Run, Tally, record
from compactor.source import Hour, Ignored, Source, SourceObject, open_source

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
    progress: Progress,
) -> RunReport:
    """Loads all pending objects of the datasets (default: all that the registry has) and reports what was done.

    Args:
        start, stop: only objects of these UTC hours, both inclusive.
        full_scan: list from the first hour on instead of from the window before the newest loaded one.
        if_running: what to do if another run is under way. Default: as the config says.

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
        return run.report(
            [_compact_dataset(run, source, dataset, start, stop, full_scan=full_scan) for dataset in chosen]
        )


def _compact_dataset(
    run: Run, source: Source, listed: Dataset, start: Hour | None, stop: Hour | None, *, full_scan: bool
) -> DatasetReport:
    began = time.monotonic()
    tally = Tally(started_at=ledger.now())
    for attempt in ledger.on_new_shape():
        with attempt:
            dataset = run.lake.shaped(listed)
            _load_pending(run, source, dataset, start, stop, tally, full_scan=full_scan)
    if listed.additive == "evolve" and tally.unknown_fields:
        evolve.evolve(run.lake, listed)
    return tally.report(dataset, seconds=time.monotonic() - began)


def _load_pending(
    run: Run,
    source: Source,
    dataset: Dataset,
    start: Hour | None,
    stop: Hour | None,
    tally: Tally,
    *,
    full_scan: bool,
) -> None:
    ignored = Ignored()
    config = run.lake.config
    settled(run.lake, dataset)
    with engine.session(config.resources, share=_LISTING_SHARE) as con:  # stays open beside the batches' sessions
        listed = ledger.list_pending(
            con, run.lake, source, dataset.name, ignored, start=start, stop=stop, full_scan=full_scan
        )
        count, size = con.execute("SELECT count(*), coalesce(sum(size), 0) FROM pending").fetchall()[0]
        if count:
            run.progress.start(dataset.name, int(count), int(size))
            for objects in _batches(con, dataset.name, config):
                _load_batch(run, source, dataset, objects, tally)
            run.progress.finish()
    tally.ignored = ignored.count
    if ignored.count:
        log.info(
            "%s: ignored %d objects that are not exports, such as %s", dataset.name, ignored.count, ignored.examples[0]
        )
    if tally.objects or tally.failed:
        record(run, dataset, tally, _frontier(listed, start, tally), listed.after)


def _load_batch(run: Run, source: Source, dataset: Dataset, objects: Sequence[SourceObject], tally: Tally) -> None:
    """Reads a batch once, then plans and publishes it, again from a fresh load after each conflict."""
    config = run.lake.config
    with engine.session(config.resources) as con:
        run.progress.stage("reading")
        loaded = read_batch(con, source, dataset, objects, config, run.progress)
        for attempt in ledger.on_conflict(config.commit.attempts):
            with attempt:
                run.progress.stage("merging")
                history = settled(run.lake, dataset)
                _drop_known(con, run.lake, dataset)
                planned, rewrite = plan(con, dataset, history)
                totals = accounts.enter(con, dataset.name, loaded.lines, planned.new, run.run_id, ledger.now())
                run.progress.stage("committing")
                published = publish(
                    run.lake, con, dataset, history, planned, rewrite, run_id=run.run_id, replaces_entries=False
                )
        tally.unknown_versions |= unknown_versions(con)
        tally.objects += con.execute("SELECT count(*) FROM files").fetchall()[0][0]
        tally.unknown_fields += count_unknown(con, dataset)
    tally.lines += totals.lines
    tally.quarantined += totals.quarantined
    tally.raw_bytes += loaded.raw_bytes
    tally.failed += [(objects[file_no].key, reason) for file_no, reason in sorted(loaded.failed.items())]
    tally.add(totals, published)


def _drop_known(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: Dataset) -> None:
    """Takes out what another run has loaded since this one listed it."""
    ledger.load_known(con, lake, dataset.name)
    loaded = con.execute("SELECT file_no FROM files SEMI JOIN known USING (key, etag)").fetchall()
    drop_files(con, [file_no for (file_no,) in loaded])


def _batches(con: duckdb.DuckDBPyConnection, dataset: str, config: Config) -> Iterator[list[SourceObject]]:
    """The pending objects in the order of their hours, in batches of limited count and size."""
    batch: list[SourceObject] = []
    size = 0
    pending = con.execute("SELECT key, etag, size FROM pending ORDER BY key")
    while rows := pending.fetchmany(10_000):
        for key, etag, length in rows:
            if batch and (len(batch) >= config.batch.objects or size + length > config.batch.bytes):
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

"""Reads quarantined lines again with today's registry: those that now fit are loaded as if they had come in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

from compactor.config import Config, IfRunning
from compactor.decode.batch_reader import Sums
from compactor.decode.decoded import Decoded
from compactor.decode.decoder import DecodedChunk, Decoder
from compactor.decode.lines import Lines
from compactor.decode.rejects import DEPENDS_ON_REGISTRY
from compactor.duck.relations import Relation, Relations
from compactor.engines.collected import register_files
from compactor.engines.local import LocalBatch, open_batch
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.retry import on_conflict, on_table_version
from compactor.merge.rows import Rows
from compactor.progress import Progress
from compactor.publish import acknowledged, lease, presence, run_log
from compactor.publish.accounting import Entries, account
from compactor.publish.night import Night
from compactor.publish.protocol import publish, settled
from compactor.publish.run_log import Run, Tally
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import RunReport

_LINES_AT_ONCE = 4096


def replay(
    config: Config,
    registry: Registry,
    *,
    datasets: tuple[str, ...] = (),
    if_running: IfRunning | None = None,
    progress: Progress,
) -> RunReport:
    """Replays the quarantine of the datasets (default: all). `lines` of the report are the lines read again.

    Each dataset ends on its own: what fails for one is in `problems` of the report.

    If another run is under way it does what `if_running` says. Default: as the config says.

    Raises:
        UsageError: an unknown dataset, or a registry that the tables of no dataset fit.
        CompactorError: the catalog, or the storage of the program's own tables, failed.
    """
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    lake = Lakehouse(config)
    presence.check_own(lake, registry)
    lake.ensure_own()
    run = Run.begin("replay", lake, progress)
    with lease.held(run, if_running or config.if_running) as other:
        if other:
            return run.report(left_to=other.run_id)
        with Night(run, chosen) as night:
            night.each(partial(_replay_dataset, night, registry))
        presence.record(lake, chosen, run.run_id)
        return night.report()


def _replay_dataset(night: Night, registry: Registry, listed: Dataset, tally: Tally) -> None:
    run = night.run
    presence.check(run.lake, registry, listed)
    run.lake.ensure(registry, [listed.name])
    for attempt in on_table_version():
        with attempt:
            dataset = run.lake.at_table_version(listed)
            _load_again(run, dataset, tally)
    if tally.new or tally.duplicates:
        night.record(dataset, tally)


def _load_again(run: Run, dataset: Dataset, tally: Tally) -> None:
    """Reads, decides, accounts and publishes the quarantined lines, again from a fresh load after each conflict."""
    lake = run.lake
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt, open_batch(lake, dataset) as batch:
            history = settled(lake, dataset, open_batch)
            decoded = _read(batch, lake, dataset)
            lines = sum(decoded.lines.values())
            if not lines:
                return
            accepted = batch.relations.count(decoded.records.keys)
            tally.rejections.add(batch.con, decoded)
            tally.lines, tally.quarantined = lines, lines - accepted
            tally.acknowledged_lines = acknowledged.count_lines(
                batch.relations, lake, dataset.name, decoded.rejected, decoded.files
            )
            tally.unknown_fields = batch.count_unknown(decoded)
            tally.unfit = Counter(batch.count_unfit(decoded))
            if accepted:
                plan = batch.plan(batch.relations, decoded, history)
                accounts = account(batch.relations, dataset.name, decoded, plan.new, run.run_id, run_log.now())
                published = publish(
                    lake,
                    batch,
                    dataset,
                    history,
                    plan,
                    _added_to_ledger(batch.relations, lake, dataset, accounts.entries),
                    run_id=run.run_id,
                    open_batch=open_batch,
                    replaces_entries=True,
                )
                tally.add(accounts.totals, published)


def _read(batch: LocalBatch, lake: Lakehouse, dataset: Dataset) -> Decoded[Rows]:
    """The quarantined lines of the dataset, decoded. A file is an object, by its key and ETag."""
    relations, sums = batch.relations, Sums()
    columns = ["source_file", "etag", "source_line", "version", "reason", "detail", "raw"]
    scan = lake.table(QUARANTINE).scan(columns, where={"dataset": dataset.name})
    quarantined = relations.stored("quarantined", scan.batches)
    objects = relations.con.execute(f"SELECT DISTINCT source_file, etag, 0 FROM {quarantined} ORDER BY 1, 2").fetchall()
    files = register_files(relations, objects)
    lines = relations.table(
        "lines",
        f"SELECT f.file_no, q.* FROM {quarantined} q JOIN {files} f ON f.key = q.source_file AND f.etag = q.etag",
    )
    sums.lines = dict(relations.con.execute(f"SELECT file_no, count(*) FROM {lines} GROUP BY 1").fetchall())
    limit = int(lake.config.limits.line_bytes)
    decoder = Decoder(relations.con, dataset, [key for key, _, _ in objects], line_limit=limit)
    decoded = batch.collect(files, _chunks(relations, decoder, lines), sums)
    relations.con.execute(
        f"INSERT INTO {decoded.rejected} SELECT file_no, source_line, version, reason, detail, raw FROM {lines}"
        f" WHERE reason NOT IN {DEPENDS_ON_REGISTRY}"
    )
    return decoded


def _chunks(relations: Relations, decoder: Decoder, lines: Relation) -> Iterator[DecodedChunk]:
    select = f"SELECT file_no::BIGINT, source_line, raw FROM {lines} WHERE reason IN {DEPENDS_ON_REGISTRY}"
    for found in relations.stream(select, _LINES_AT_ONCE):
        file_nos, numbers, texts = found.columns
        yield decoder.decode_lines(Lines.of_texts(file_nos.to_numpy(), numbers.to_numpy(), texts.to_pylist()))


def _added_to_ledger(relations: Relations, lake: Lakehouse, dataset: Dataset, entries: Entries) -> Entries:
    """Turns the sums of the lines read again into the whole sums of their files."""
    table = lake.table(FILES)
    with relations.arrow("ledger", table.scan(table.schema.names, where={"dataset": dataset.name}).batches) as ledger:
        sums = relations.table(
            "ledger_entries",
            "SELECT e.* REPLACE (e.new + n.new AS new, e.duplicates + n.duplicates AS duplicates,"
            f" n.quarantined AS quarantined) FROM {ledger} e JOIN {entries.ledger} n USING (dataset, key, etag)",
        )
    return Entries(sums, entries.quarantine)

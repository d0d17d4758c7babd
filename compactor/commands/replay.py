"""Reads quarantined lines again with today's registry: those that now fit are loaded as if they had come in order."""

from __future__ import annotations

import time
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from compactor.config import Config, IfRunning
from compactor.decode.batch_reader import count_unknown, register_files, unknown_versions
from compactor.decode.bulk import Decoder
from compactor.decode.lines import Chunk
from compactor.decode.rejects import NOT_KEPT_WHOLE
from compactor.duck import session
from compactor.engines.local import LocalBatch
from compactor.lake.catalog import FILES, QUARANTINE, Lakehouse
from compactor.progress import Progress
from compactor.publish import accounting, lease, ledger
from compactor.publish.protocol import publish, settled
from compactor.publish.run_log import Run, Tally, record
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import DatasetReport, RunReport

_LINES = pa.schema([("file_no", pa.int32()), ("line_no", pa.int64()), ("line", pa.large_string())])


def replay(
    config: Config,
    registry: Registry,
    *,
    datasets: tuple[str, ...] = (),
    if_running: IfRunning | None = None,
    progress: Progress,
) -> RunReport:
    """Replays the quarantine of the datasets (default: all). `lines` of the report are the lines read again.

    If another run is under way it does what `if_running` says. Default: as the config says.

    Raises:
        UsageError: an unknown dataset.
        CompactorError: the catalog or the storage of the tables failed.
    """
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    lake = Lakehouse(config)
    lake.ensure_own()
    run = Run.begin("replay", lake, progress)
    with lease.held(run, if_running or config.if_running) as other:
        if other:
            return run.report(left_to=other.run_id)
        lake.ensure(registry, [dataset.name for dataset in chosen])
        return run.report([_replay_dataset(run, dataset) for dataset in chosen])


def _replay_dataset(run: Run, listed: Dataset) -> DatasetReport:
    began = time.monotonic()
    tally = Tally(started_at=ledger.now())
    for attempt in ledger.on_new_shape():
        with attempt:
            dataset = run.lake.shaped(listed)
            _load_again(run, dataset, tally)
    if tally.new or tally.duplicates:
        record(run, dataset, tally)
    return tally.report(dataset, seconds=time.monotonic() - began)


def _load_again(run: Run, dataset: Dataset, tally: Tally) -> None:
    for attempt in ledger.on_conflict(run.lake.config.commit.attempts):
        with attempt, session.session(run.lake.config.resources) as con:
            history = settled(run.lake, dataset)
            before = _read(con, run.lake, dataset)
            if before:
                _decode(con, dataset)
                tally.unknown_versions |= unknown_versions(con)
                accepted = con.execute("SELECT count(*) FROM staged").fetchall()[0][0]
                tally.lines, tally.quarantined = sum(before.values()), sum(before.values()) - accepted
                tally.unknown_fields = count_unknown(con, dataset)
                if accepted:
                    batch = LocalBatch(run.lake, con, dataset)
                    planned, rewrite = batch.plan(history)
                    totals = accounting.enter(con, dataset.name, before, planned.new, run.run_id, ledger.now())
                    _add_to_ledger(con, run.lake, dataset)
                    published = publish(
                        run.lake, batch, dataset, history, planned, rewrite, run_id=run.run_id, replaces_entries=True
                    )
                    tally.add(totals, published)


def _read(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: Dataset) -> dict[int, int]:
    """Loads the quarantine of the dataset into `files` and `quarantined`. Returns the number of lines per file_no."""
    columns = ["dataset", "source_file", "etag", "source_line", "version", "reason", "detail", "raw"]
    con.register("rows", lake.table(QUARANTINE).scan(columns, where={"dataset": dataset.name}).batches)
    con.execute("CREATE TABLE quarantined AS SELECT * FROM rows")
    con.unregister("rows")
    files = con.execute("SELECT DISTINCT source_file, etag, 0 FROM quarantined ORDER BY 1, 2").fetchall()
    register_files(con, files)
    con.execute(
        "CREATE TABLE again AS SELECT f.file_no, q.* FROM quarantined q"
        " JOIN files f ON f.key = q.source_file AND f.etag = q.etag"
    )
    return dict(con.execute("SELECT file_no, count(*) FROM again GROUP BY 1").fetchall())


def _decode(con: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    decoder = Decoder(con, dataset)
    for chunk in _chunks(con):
        decoder.decode(chunk)
    con.execute(
        "INSERT INTO rejected SELECT file_no, source_line, version, reason, detail, raw FROM again"
        f" WHERE reason IN {NOT_KEPT_WHOLE}"
    )


def _chunks(con: duckdb.DuckDBPyConnection) -> Iterator[Chunk]:
    cursor = con.cursor()  # of its own: the decoder works on `con` between two chunks
    reader = cursor.execute(
        f"SELECT file_no, source_line AS line_no, raw AS line FROM again WHERE reason NOT IN {NOT_KEPT_WHOLE}"
    ).to_arrow_reader(16384)
    for batch in reader:
        yield Chunk(pa.Table.from_batches([batch]).cast(_LINES))
    cursor.close()


def _add_to_ledger(con: duckdb.DuckDBPyConnection, lake: Lakehouse, dataset: Dataset) -> None:
    """Turns the sums of the lines read again into the whole sums of their files."""
    table = lake.table(FILES)
    con.register("entries", table.scan(table.schema.names, where={"dataset": dataset.name}).batches)
    con.execute(
        "CREATE OR REPLACE TABLE ledger_rows AS SELECT e.* REPLACE (e.new + n.new AS new,"
        " e.duplicates + n.duplicates AS duplicates, n.quarantined AS quarantined)"
        " FROM entries e JOIN ledger_rows n USING (dataset, key, etag)"
    )
    con.unregister("entries")

"""Where the lake stands: tables, what is pending, the last runs, what lies in quarantine."""

from __future__ import annotations

from typing import Any

from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.lake import table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.publish.pending import list_pending
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import PendingObjects, StatusReport, TableStatus
from compactor.source import Ignored, Source, open_source

_LAST_RUNS = 5


def status(config: Config, registry: Registry) -> StatusReport:
    """Looks, and changes nothing. Raises SourceError or CompactorError where source or catalog cannot be read."""
    lake, source = Lakehouse(config), open_source(config.source)
    tables: list[TableStatus] = []
    pending: dict[str, PendingObjects] = {}
    for name in sorted(registry.datasets):
        dataset = registry.datasets[name]
        names = [table for table in (dataset.current_table, dataset.history_table) if table and lake.exists(table)]
        loaded = map(lake.table, names)
        tables += [_table(table, table_version.of_table(dataset, table.properties).order) for table in loaded]
        pending[name] = _pending(lake, source, dataset)
    tables += [_table(lake.table(name), None) for name in (FILES, QUARANTINE, RUNS) if lake.exists(name)]
    return StatusReport(tuple(tables), pending, _runs(lake), _quarantine(lake))


def _table(table: Table, order: str | None) -> TableStatus:
    files = table.files
    return TableStatus(
        table=table.name,
        rows=sum(file.record_count for file in files),
        newest=table.upper_bound(order) if order else None,
        data_files=len(files),
        bytes=sum(file.file_size_in_bytes for file in files),
        snapshot_id=table.snapshot_id,
    )


def _pending(lake: Lakehouse, source: Source, dataset: Dataset) -> PendingObjects:
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        listing = list_pending(relations, lake, source, dataset.name, Ignored())
    return PendingObjects(listing.objects, listing.size)


def _runs(lake: Lakehouse) -> tuple[dict[str, Any], ...]:
    if not lake.exists(RUNS):
        return ()
    table = lake.table(RUNS)
    with session.session(lake.config.resources) as con:
        con.register("run_rows", table.scan(table.schema.names).batches)
        newest = con.execute(f"SELECT * FROM run_rows ORDER BY finished_at DESC LIMIT {_LAST_RUNS}").to_arrow_table()
    return tuple(newest.to_pylist())


def _quarantine(lake: Lakehouse) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    if lake.exists(QUARANTINE):
        with session.session(lake.config.resources) as con:
            con.register("lines", lake.table(QUARANTINE).scan(["dataset", "reason"]).batches)
            counts = con.execute("SELECT dataset, reason, count(*) FROM lines GROUP BY 1, 2 ORDER BY 1, 2").fetchall()
        for dataset, reason, rows in counts:
            found.setdefault(dataset, {})[reason] = rows
    return found

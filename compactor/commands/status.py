"""`status`: the tables, the pending objects, the last runs and the rows in quarantine."""

from __future__ import annotations

from typing import Any

from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.errors import CompactorError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, OWN_TABLES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.publish.pending import list_pending
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.report import PendingObjects, Problem, StatusReport, TableStatus
from compactor.source import IgnoredKeys, Source, open_source

_LAST_RUNS = 5


def status(config: Config, registry: Registry) -> StatusReport:
    """Reads the state of the lake. Changes nothing.

    Raises:
        SourceError: the source cannot be listed.
        CompactorError: the catalog or the storage of the tables cannot be read.
    """
    lake, source = Lakehouse(config), open_source(config.source)
    tables: list[TableStatus] = []
    pending: dict[str, PendingObjects] = {}
    problems: list[Problem] = []
    for name in sorted(registry.datasets):
        dataset = registry.datasets[name]
        names = [table for table in (dataset.current_table, dataset.history_table) if table and lake.exists(table)]
        try:
            order = lake.at_table_version(dataset).order
        except CompactorError as error:
            wrong, _, step = str(error).partition("; ")
            problems.append(Problem(name, wrong, step))
            order = dataset.order
        tables += [_table(lake.table(each), order) for each in names]
        pending[name] = _pending(lake, source, dataset)
    tables += [_table(lake.table(name), None) for name in (FILES, QUARANTINE, RUNS) if lake.exists(name)]
    return StatusReport(tuple(tables), pending, _last_runs(lake), _quarantine(lake), tuple(problems))


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
        listing = list_pending(relations, lake, source, dataset.name, IgnoredKeys())
    return PendingObjects(listing.objects, listing.size)


def _last_runs(lake: Lakehouse) -> tuple[dict[str, Any], ...]:
    if not lake.exists(RUNS):
        return ()
    table = lake.table(RUNS)
    own = OWN_TABLES[RUNS]
    known = {name for name, _, _ in own.columns}.union(own.renamed.values())
    batches = table.scan([name for name in table.schema.names if name in known]).batches
    with session.session(lake.config.resources) as con, Relations(con).arrow("runs", batches) as runs:
        newest = con.execute(f"SELECT * FROM {runs} ORDER BY finished_at DESC LIMIT {_LAST_RUNS}").to_arrow_table()
    return tuple(newest.to_pylist())


def _quarantine(lake: Lakehouse) -> dict[str, dict[str, int]]:
    if not lake.exists(QUARANTINE):
        return {}
    batches = lake.table(QUARANTINE).scan(["dataset", "reason"]).batches
    with session.session(lake.config.resources) as con, Relations(con).arrow("quarantined", batches) as quarantined:
        counts = con.execute(
            f"SELECT dataset, reason, count(*) FROM {quarantined} GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
    found: dict[str, dict[str, int]] = {}
    for dataset, reason, rows in counts:
        found.setdefault(dataset, {})[reason] = rows
    return found

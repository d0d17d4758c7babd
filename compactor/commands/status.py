"""`status`: the tables, the pending objects, the last runs and the rows in quarantine."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import Any

from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.errors import MisplacedTableError, UnreadableError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, OWN_TABLES, QUARANTINE, RUNS
from compactor.lake.table import Table
from compactor.publish import acknowledged, arrivals, presence
from compactor.publish.pending import list_pending
from compactor.publish.run_log import last_run
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.problems import collected
from compactor.reports.report import Acknowledged, PendingObjects, Problem, StatusReport, TableStatus
from compactor.source import IgnoredKeys, Source, open_source

_LAST_RUNS = 5


def status(config: Config, registry: Registry) -> StatusReport:
    """Reads the state of the lake. Changes nothing. What cannot be read is a problem of the report.

    Raises CompactorError where the catalog cannot be opened.
    """
    lake, source = Lakehouse(config), open_source(config.source)
    try:
        lake.exists(FILES)
    except MisplacedTableError as error:  # once, not for each table
        return StatusReport(problems=(Problem(error.table, error.wrong, error.step, fails=True),))
    tables: list[TableStatus] = []
    pending: dict[str, PendingObjects] = {}
    set_aside: dict[str, Acknowledged] = {}
    problems: list[Problem] = []
    with collected(problems, config.catalog.name):
        problems += presence.problems(lake, registry)
    with collected(problems, source.url):
        # An empty source is no failure of the state: the run that needs it ends with 1.
        found = arrivals.check(config.source, source, registry, lake, allow_empty=False)
        problems += (replace(each, fails=False) for each in found)
    for dataset in (registry.datasets[name] for name in sorted(registry.datasets)):
        order = dataset.order
        with collected(problems, dataset.name), suppress(UnreadableError):  # each table says that below
            order = lake.at_table_version(dataset).order
        for table in reversed(dataset.tables):
            with collected(problems, table):
                if (loaded := lake.find(table)) is not None:
                    tables.append(_table(loaded, order))
        with collected(problems, dataset.name):
            pending[dataset.name] = _pending(lake, source, dataset)
            if known := _acknowledged(lake, dataset):
                set_aside[dataset.name] = known
    for name in OWN_TABLES:
        with collected(problems, name):
            if (loaded := lake.find(name)) is not None:
                tables.append(_table(loaded, None))
    runs: tuple[dict[str, Any], ...] = ()
    quarantine: dict[str, dict[str, int]] = {}
    with collected(problems, RUNS):
        runs = _last_runs(lake)
    with collected(problems, QUARANTINE):
        quarantine = _quarantine(lake)
    return StatusReport(tuple(tables), pending, runs, quarantine, set_aside, tuple(dict.fromkeys(problems)))


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
        try:
            after = last_run(relations, lake, dataset.name)
        except UnreadableError:  # which is reported as what the table of runs is: then all hours count
            after = None
        listing = list_pending(relations, lake, source, dataset.name, IgnoredKeys(), after=after)
    return PendingObjects(listing.objects, listing.size)


def _acknowledged(lake: Lakehouse, dataset: Dataset) -> Acknowledged | None:
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        objects = relations.count(acknowledged.objects(relations, lake, dataset.name))
        lines = acknowledged.lines(relations, lake, dataset.name)
        by_reason = con.execute(f"SELECT reason, count(*) FROM {lines} GROUP BY 1 ORDER BY 1").fetchall()
    return Acknowledged(objects, dict(by_reason)) if objects or by_reason else None


def _last_runs(lake: Lakehouse) -> tuple[dict[str, Any], ...]:
    """All rows of the last runs, the newest run first. Only the newest files of the table are read."""
    table = lake.find(RUNS)
    if table is None:
        return ()
    own = OWN_TABLES[RUNS]
    known = {name for name, _, _ in own.columns}.union(own.renamed.values())
    columns = [name for name in table.schema.names if name in known]
    rows: list[dict[str, Any]] = []
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        for file, _ in table.newest_first("finished_at"):
            here = relations.stored("runs", table.scan(columns, paths=[file.file_path]).batches)
            newest = f"SELECT run_id FROM {here} GROUP BY 1 ORDER BY max(finished_at) DESC LIMIT {_LAST_RUNS}"
            rows += con.execute(f"SELECT * FROM {here} WHERE run_id IN ({newest})").to_arrow_table().to_pylist()
            if len({row["run_id"] for row in rows}) > _LAST_RUNS:
                break  # an older file has no row of these runs
    ended: dict[str, Any] = {}
    for row in rows:
        ended[row["run_id"]] = max(row["finished_at"], ended.get(row["run_id"], row["finished_at"]))
    last = sorted(ended, key=ended.__getitem__, reverse=True)[:_LAST_RUNS]
    shown = sorted((row for row in rows if row["run_id"] in last), key=itemgetter("dataset"))
    return tuple(
        row | {"failures": json.loads(row.get("failures") or "[]")}
        for row in sorted(shown, key=lambda row: last.index(row["run_id"]))
    )


def _quarantine(lake: Lakehouse) -> dict[str, dict[str, int]]:
    table = lake.find(QUARANTINE)
    if table is None:
        return {}
    batches = table.scan(["dataset", "reason"]).batches
    with session.session(lake.config.resources) as con, Relations(con).arrow("quarantined", batches) as quarantined:
        counts = con.execute(
            f"SELECT dataset, reason, count(*) FROM {quarantined} GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
    found: dict[str, dict[str, int]] = {}
    for dataset, reason, rows in counts:
        found.setdefault(dataset, {})[reason] = rows
    return found

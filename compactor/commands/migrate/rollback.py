"""`migrate rollback`: brings datasets back to what they were before their last migration.

    1 mark the history   2 ledger and quarantine   3 current   4 history, which loses the mark

Each step is idempotent: the next `rollback` continues where a killed one stopped. `compact` refuses a dataset whose
history has the mark. See docs/design/0004-schema-migration.md.
"""

from __future__ import annotations

import uuid

from compactor.commands.migrate.migrate import chosen, if_running
from compactor.commands.migrate.origin import PROPERTY, Origin
from compactor.config import Config
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.engines.local import open_batch
from compactor.errors import UsageError
from compactor.lake import table_changes, table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, QUARANTINE
from compactor.lake.retry import on_conflict
from compactor.progress import Progress
from compactor.publish import lease, past, presence, run_log, upsert
from compactor.publish.protocol import settled
from compactor.publish.run_log import Run, Tally
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.migration import DatasetRollback, RollbackReport
from compactor.source import Hour


def rollback(
    config: Config, registry: Registry, *, datasets: tuple[str, ...] = (), confirmed: bool, progress: Progress
) -> RollbackReport:
    """Undoes the last migration of the datasets (default: all that have one), and all that was loaded since.

    Args:
        confirmed: do it; else only report what would be done.

    Raises:
        UsageError: there is nothing to roll back.
        CompactorError: the catalog or the storage failed. Run it again.
    """
    lake = Lakehouse(config)
    presence.check_own(lake, registry)
    lake.ensure_own()
    run = Run.begin("rollback", lake, progress)
    with lease.held(run, if_running(config) if confirmed else "ignore"):
        for each in chosen(registry, datasets):
            presence.check(lake, registry, each)
        there = [each for each in chosen(registry, datasets) if lake.exists(each.history_table)]
        origins = [(each, Origin.of(lake.table(each.history_table))) for each in there]
        migrated = [(each, origin) for each, origin in origins if origin]
        if not migrated:
            raise UsageError("there is no migration to roll back")
        done = tuple(_roll_back(run, each, origin, confirmed=confirmed) for each, origin in migrated)
        presence.record(lake, [each for each, _ in migrated], run.run_id)
        return RollbackReport(confirmed, done)


def _roll_back(run: Run, listed: Dataset, origin: Origin, *, confirmed: bool) -> DatasetRollback:
    lake, tag = run.lake, origin.tag
    properties = lake.table(listed.history_table).properties
    with session.session(lake.config.resources) as con, Relations(con) as relations:
        objects, lines, new = past.loaded_since(con, lake, listed.name, tag)
        if confirmed:
            if table_version.ROLLING_BACK not in properties:
                settled(lake, lake.at_table_version(listed), open_batch)
                _mark(lake, listed.history_table, tag)
            then = run_log.last_run(relations, lake, listed.name, tag=tag)
            watermark = then.watermark if then else Hour("0001-01-01", 0)
            upsert.restore(lake, con, QUARANTINE, upsert.LINES_OF_OBJECT, listed.name, tag, run_id=run.run_id)
            upsert.restore(lake, con, FILES, upsert.OBJECT, listed.name, tag, run_id=run.run_id)
            for name in reversed(listed.tables):
                _return(lake, name, tag)
            run_log.record(run, [(listed, Tally(started_at=run.started_at, watermark=watermark))])
    return DatasetRollback(
        dataset=listed.name,
        tag=tag,
        from_version=table_version.version(properties, listed),
        to_version=table_version.version(origin.marks, listed),
        objects=objects,
        lines=lines,
        new=new,
    )


def _mark(lake: Lakehouse, name: str, tag: str) -> None:
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            properties = {table_version.ROLLING_BACK: tag}
            table_changes.set_properties(lake.table(name), properties, commit_id=uuid.uuid4().hex)


def _return(lake: Lakehouse, name: str, tag: str) -> None:
    """Brings a table back to the tag, unless it is there already."""
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            origin = Origin.of(table)
            if origin is None or origin.tag != tag:
                return
            # Marks from before the rule was kept do not name one: then the table shall not, either.
            marks = {table_version.RULE: None, **origin.marks}
            properties = {**marks, PROPERTY: origin.previous_text, table_version.ROLLING_BACK: None}
            table_changes.roll_back(
                table, tag, schema_id=origin.schema_id, properties=properties, commit_id=uuid.uuid4().hex
            )

"""Columns for fields that came unannounced, made by the run that finds them, for datasets with `additive: evolve`.

A field of `extra` becomes an optional column once enough records have it and all their values are of one type. That is
a change of metadata alone: rows from before have NULL there until `migrate apply` fills them. The entry in `extra`
stays, so a later value that does not fit is NULL in the column and is not lost.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace

from compactor.commands.drift import drift
from compactor.evolution import plan
from compactor.lake import table_changes, table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.schema_change import evolved_schema
from compactor.publish.retry import on_conflict
from compactor.registry.dataset import Dataset, Promotion

log = logging.getLogger(__name__)

MIN_RECORDS, MIN_SHARE = 100, 1.0
"""How many records must have a field, and what percentage of all."""


def complete(lake: Lakehouse, listed: Dataset) -> None:
    """Gives the current table the columns that only the history has got, because a run was killed in between."""
    if listed.current_table is None or not (lake.exists(listed.history_table) and lake.exists(listed.current_table)):
        return
    history = table_version.of_table(listed, lake.table(listed.history_table).properties)
    current = table_version.of_table(listed, lake.table(listed.current_table).properties)
    missing = [each for each in history.promoted if each not in current.promoted]
    if missing and all(each.evolved for each in missing) and history.newest.number == current.newest.number:
        _add(lake, listed, listed.current_table, history.promoted)


def evolve(lake: Lakehouse, listed: Dataset) -> None:
    """Makes columns of the fields of `extra` that are ready for it, in the history first."""
    dataset = lake.at_table_version(listed)
    found = drift.ready_fields(lake, listed, dataset, min_share=MIN_SHARE, min_records=MIN_RECORDS)
    if not found:
        return
    promoted = (*dataset.promoted, *(replace(each, evolved=True, filled=False) for each in found))
    for name in filter(None, (dataset.history_table, dataset.current_table)):
        _add(lake, listed, name, promoted)
    for each in found:
        log.info(
            "%s: field %r of `extra` has become column %s (%s); rows from before get it by `compactor migrate apply`",
            dataset.name,
            each.key,
            each.column,
            each.type,
        )


def _add(lake: Lakehouse, listed: Dataset, name: str, promoted: tuple[Promotion, ...]) -> None:
    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            old = table_version.of_table(listed, table.properties)
            new = old.at(old.newest.number, promoted)
            schema = evolved_schema(table, plan.target_columns(old, new))
            commit_id = uuid.uuid4().hex
            properties = table_version.marks(new)
            table_changes.change_columns(table, schema, [], [], properties=properties, summary={}, commit_id=commit_id)

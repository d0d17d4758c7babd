"""Adds columns for new fields, for datasets with `additive: evolve`. The run that finds the fields adds the columns.

A field of `extra` becomes an optional column when enough records have it and all its values have one type. Only
metadata changes: older rows have NULL in the column until `migrate apply` fills it. The entry in `extra` stays, so a
later value of another type is NULL in the column and is not lost.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace

from compactor.lake import table_changes, table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.retry import on_conflict
from compactor.registry.dataset import Dataset, Promotion

log = logging.getLogger(__name__)

MIN_RECORDS, MIN_SHARE = 100, 1.0
"""The number of records that must have a field, and the percentage of all records."""
MOST_COLUMNS = 200
"""Columns of a dataset that runs have made. Keys that are data would make a table that no engine reads well."""


def complete(lake: Lakehouse, declared: Dataset) -> None:
    """Adds to the current table the columns that only the history has, because a run was killed between the two."""
    if declared.current_table is None:
        return
    history_table, current_table = lake.seen(declared.history_table), lake.seen(declared.current_table)
    if history_table is None or current_table is None:
        return
    history = lake.version_of(declared, history_table)
    current = lake.version_of(declared, current_table)
    missing = [each for each in history.promoted if each not in current.promoted]
    if missing and all(each.evolved for each in missing) and history.newest.number == current.newest.number:
        _add(lake, declared, declared.current_table, history.promoted)


def evolve(lake: Lakehouse, declared: Dataset) -> int:
    """Adds a column for each field of `extra` that is ready for one, to the history first.

    The fields that most records have come first. Returns how many others are left, because of MOST_COLUMNS.
    """
    from compactor.commands.drift import drift  # most runs find no new field

    dataset = lake.at_table_version(declared)
    ready = drift.ready_fields(lake, declared, dataset, min_share=MIN_SHARE, min_records=MIN_RECORDS)
    found = ready[: max(0, MOST_COLUMNS - sum(each.evolved for each in dataset.promoted))]
    left = len(ready) - len(found)
    if not found:
        return left
    promoted = (*dataset.promoted, *(replace(each, evolved=True, filled=False) for each in found))
    for name in dataset.tables:
        _add(lake, declared, name, promoted)
    for each in found:
        log.info(
            "%s: added column %s (%s) for field %r of `extra`; `compactor migrate apply` fills it in older rows",
            dataset.name,
            each.column,
            each.type,
            each.key,
        )
    return left


def _add(lake: Lakehouse, declared: Dataset, name: str, promoted: tuple[Promotion, ...]) -> None:
    from compactor.evolution import plan
    from compactor.lake.schema_change import evolved_schema

    for attempt in on_conflict(lake.config.commit.attempts):
        with attempt:
            table = lake.table(name)
            old = lake.version_of(declared, table)
            new = old.at(old.newest.number, promoted)
            schema = evolved_schema(table, plan.target_columns(table, old, new))
            commit_id = uuid.uuid4().hex
            properties = table_version.marks(new)
            table_changes.change_columns(table, schema, [], [], properties=properties, summary={}, commit_id=commit_id)

"""The steps of a batch share a session, and no name in it: they can be taken in any order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compactor.duck.relations import Relations
from compactor.engines.base import Change
from compactor.engines.local import LocalBatch, open_batch
from compactor.lake.own_tables import FILES
from compactor.progress import NullProgress
from compactor.publish import pending, run_log
from compactor.publish.accounting import account
from compactor.source import Hour, IgnoredKeys, SourceObject, open_source
from tests.support.histories import History
from tests.support.lake import Lake

DATASET = "fan_profiles"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """One night loaded, a second one delivered."""
    lake = Lake(tmp_path)
    history = History(11, datasets=(DATASET,), entities=5)
    for night in range(2):
        for delivery in history.night(40):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=f"{night}{delivery.part}")
        if night == 0:
            lake.compact(datasets=(DATASET,), full_scan=True)
    return lake


@pytest.fixture
def batch(lake: Lake) -> Iterator[LocalBatch]:
    with open_batch(lake.tables, lake.registry.get(DATASET)) as batch:
        yield batch


def objects(lake: Lake) -> list[SourceObject]:
    everything = Hour.parse("2000-01-01T00"), Hour.parse("2100-01-01T00")
    return list(open_source(lake.config.source).list(DATASET, *everything, IgnoredKeys()))


def count(change: Change | None) -> int:
    assert change is not None
    return sum(file.record_count for file in change.add)


def test_a_batch_can_plan_adopt_and_derive_in_one_session(lake: Lake, batch: LocalBatch) -> None:
    """Each of the three gives rows for the current table, and each once made them a table or a view of one name."""
    tables, dataset = lake.tables, lake.registry.get(DATASET)
    history, current = tables.table(dataset.history_table), tables.table(DATASET)
    decoded = batch.read(open_source(lake.config.source), objects(lake), NullProgress())
    plan = batch.plan(batch.relations, decoded, history)
    snapshot = history.last_commit()
    assert snapshot is not None

    adopted = batch.adopt_snapshot(history, snapshot)
    derived = batch.derived_change(current, history, snapshot)

    assert batch.relations.count(adopted.keys) == history.files[0].record_count or len(history.files) > 1
    assert derived is None or count(derived) >= 0
    assert batch.relations.count(plan.fresh.keys) == plan.rows > 0
    changed = batch.current_change(plan.fresh, current, lambda: history)
    assert count(changed) > 0
    assert batch.current_change(adopted, current, lambda: history) is None  # the table has these rows already


def test_the_ledger_can_be_read_beside_the_entries_that_a_batch_has_for_it(lake: Lake, batch: LocalBatch) -> None:
    tables = lake.tables
    history = tables.table(lake.registry.get(DATASET).history_table)
    decoded = batch.read(open_source(lake.config.source), objects(lake), NullProgress())
    stored = tables.table(FILES).scan(["key", "etag"], where={"dataset": DATASET})
    with Relations(batch.con) as relations, relations.arrow("ledger", stored.batches) as ledger:
        plan = batch.plan(relations, decoded, history)
        entries = account(relations, DATASET, decoded, plan.new, "a run", run_log.now()).entries
        loaded = pending.loaded_objects(relations, tables, DATASET)
        new = batch.con.execute(
            f"SELECT count(*) FROM {entries.ledger} ANTI JOIN {loaded} USING (key, etag)"
        ).fetchone()
        assert relations.count(entries.ledger) == len(objects(lake))
        assert relations.count(ledger) == relations.count(loaded) == len(lake.ledger())
        assert new == (len(objects(lake)) - len(lake.ledger()),)

"""Columns that another engine has added to a table are kept, with their values, whatever rewrites the rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.types import IcebergType, StringType

from compactor.commands.drift.drift import drift
from compactor.commands.migrate import migrate
from compactor.commands.query import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.repair import repair
from compactor.commands.views.views import views
from compactor.errors import UsageError
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.progress import NullProgress
from tests.support.outsider import VALUES, add_columns, open_table, values
from tests.support.ruled_fans import FIELDS, OLD, RuledFans

# PyIceberg, which plays the other engine here, does not know the properties for those that write bloom filters.
pytestmark = pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning")
QUIET = NullProgress()
HISTORY, CURRENT = "things_history", "things"
SEGMENT: dict[str, tuple[IcebergType, Any]] = {"segment": (StringType(), "vip")}
SPLIT = "  2:\n    changes: [{split: {field: note, into: [head, tail], separator: '1'}}]\n"


@pytest.fixture
def fans(tmp_path: Path) -> RuledFans:
    """Two nights, then a segment for each row of both tables."""
    found = RuledFans(tmp_path)
    found.night()
    found.night()
    return found


def kept(fans: RuledFans, table: str, columns: dict[str, tuple[IcebergType, Any]], ids: Iterable[str]) -> None:
    """The rows of these ids have the values, and all others have none."""
    given, found, there = {name: value for name, (_, value) in columns.items()}, set(ids), 0
    for number, row in values(fans.lake, table, "id", columns).items():
        assert row == (given if number in found else dict.fromkeys(columns)), number
        there += number in found
    assert there, "no row has a value: the test shows nothing"


def test_any_column_of_another_engine_stays_through_nights_migrations_and_repairs(fans: RuledFans) -> None:
    for table in (HISTORY, CURRENT):
        add_columns(fans.lake, table, VALUES)
    past, current = set(fans.ids(HISTORY)), set(fans.ids())
    assert fans.plan().tables == ()
    fans.night(3)
    fans.deliver_records([{**fans.records[0], "emittedAt": "2026-10-01T00:00:00Z"}])  # takes the place of a stored row
    fans.lake.compact(full_scan=True)
    kept(fans, HISTORY, VALUES, past)
    kept(fans, CURRENT, VALUES, current)
    fans.assert_current(OLD)
    fans.write(OLD, FIELDS + SPLIT)
    assert fans.plan().tables[0].rewritten == ("head: part 1 of note", "tail: part 2 of note")
    fans.apply()
    kept(fans, HISTORY, VALUES, past)
    kept(fans, CURRENT, VALUES, current)


@pytest.mark.soak
def test_rows_that_are_derived_again_keep_the_values_of_their_record(fans: RuledFans) -> None:
    for table in (HISTORY, CURRENT):
        add_columns(fans.lake, table, SEGMENT)
    current = set(fans.ids())
    fans.change(order="seen", delete="gone")
    fans.apply()
    kept(fans, CURRENT, SEGMENT, current)
    fans.assert_current(fans.ruling)
    fans.roll_back()
    kept(fans, CURRENT, SEGMENT, current)


@pytest.mark.soak
def test_a_repair_keeps_the_values_of_the_rows_that_stay(fans: RuledFans) -> None:
    for table in (HISTORY, CURRENT):
        add_columns(fans.lake, table, SEGMENT)
    past, current = set(fans.ids(HISTORY)), set(fans.ids())
    history = open_table(fans.lake, HISTORY)
    history.append(history.scan().to_arrow().slice(0, 5))
    assert repair(fans.lake.config, fans.lake.registry, yes=True).exit_code == 0
    kept(fans, HISTORY, SEGMENT, past)
    kept(fans, CURRENT, SEGMENT, current)
    fans.assert_current(OLD)


def test_the_programs_own_tables_keep_the_columns_of_another_engine(fans: RuledFans) -> None:
    bad = {**fans.records[0], "id": "bad", "at": "soon"}
    fans.deliver_records([bad, {**bad, "id": "bad2"}])
    fans.lake.compact(full_scan=True)
    for table in (FILES, QUARANTINE, RUNS):
        add_columns(fans.lake, table, VALUES)
    before = {name: values(fans.lake, name, key, VALUES) for name, key in ((FILES, "key"), (RUNS, "run_id"))}
    lines = values(fans.lake, QUARANTINE, "source_line", VALUES)
    fans.night(3)
    fans.deliver_records([{**bad, "id": "bad3"}])
    fans.lake.compact(full_scan=True)
    replay(fans.lake.config, fans.lake.registry, progress=QUIET)
    for (name, rows), key in zip(before.items(), ("key", "run_id"), strict=True):
        now = values(fans.lake, name, key, VALUES)
        assert now.keys() > rows.keys()
        for number, row in now.items():
            assert row == rows.get(number, dict.fromkeys(VALUES)), (name, number)
    assert lines.items() <= values(fans.lake, QUARANTINE, "source_line", VALUES).items()
    assert status(fans.lake.config, fans.lake.registry).runs[0].keys().isdisjoint(VALUES)
    fans.assert_current(OLD)


@pytest.mark.soak
def test_lines_that_stay_in_the_quarantine_after_a_replay_keep_their_values(fans: RuledFans) -> None:
    version = {**fans.records[0], "id": "v2", "version": 2}
    bad = {**fans.records[0], "id": "bad", "at": "soon"}
    fans.deliver_records([version, bad])
    fans.lake.compact(full_scan=True)
    add_columns(fans.lake, QUARANTINE, SEGMENT)
    add_columns(fans.lake, FILES, SEGMENT)
    fans.write(OLD, FIELDS + "  2:\n    changes: [{add: {field: more, type: string}}]\n")
    fans.apply()
    replay(fans.lake.config, fans.lake.registry, progress=QUIET)
    (left,) = open_table(fans.lake, QUARANTINE).scan().to_arrow().to_pylist()
    assert (json.loads(left["raw"])["id"], left["segment"]) == ("bad", "vip")
    assert {row["segment"] for row in open_table(fans.lake, FILES).scan().to_arrow().to_pylist()} == {"vip"}


@pytest.mark.soak
def test_all_verbs_that_read_take_a_column_of_another_engine(fans: RuledFans) -> None:
    for table in (HISTORY, CURRENT, FILES, QUARANTINE, RUNS):
        add_columns(fans.lake, table, VALUES)
    lake = fans.lake
    reader = query(
        lake.config, lake.registry, f"SELECT f_string, f_struct.inner FROM {CURRENT} WHERE \"F_Upper\" = 'up'"
    )
    rows = [row for batch in reader for row in batch.to_pylist()]
    assert rows == [{"f_string": "vip", "inner": "i"}] * len(fans.ids())
    assert status(lake.config, lake.registry).tables
    assert drift(lake.config, lake.registry).datasets[0].records == 24
    views(lake.config, lake.registry, dialect="duckdb")
    assert migrate.plan(lake.config, lake.registry).tables == ()
    fans.assert_current(OLD)


def test_a_column_of_the_registry_never_takes_the_name_of_another_engines(fans: RuledFans) -> None:
    add_columns(fans.lake, CURRENT, SEGMENT)
    for text in (
        FIELDS + "promote: [{from: extra, key: segment, type: string}]\n",
        FIELDS + "  2:\n    changes: [{add: {field: segment, type: string}}]\n",
        FIELDS + "  2:\n    changes: [{rename: {from: note, to: segment}}]\n",
    ):
        fans.write(OLD, text)
        fans.lake.compact(full_scan=True)
        for verb in (fans.plan, fans.apply):
            with pytest.raises(UsageError, match="'segment' is to come into things, and another engine has added one"):
                verb()
    fans.write(OLD)
    fans.assert_current(OLD)


@pytest.mark.soak
def test_a_column_that_a_run_adds_avoids_the_names_of_another_engine(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path)
    fans.write(OLD, "additive: evolve\n" + FIELDS)
    fans.night()
    add_columns(fans.lake, HISTORY, SEGMENT)
    fans.deliver(120, segment=5)
    fans.lake.compact(full_scan=True)
    names = fans.lake.tables.table(CURRENT).schema.names
    assert "segment" not in names
    assert "extra_segment" in names
    fans.assert_current(OLD)

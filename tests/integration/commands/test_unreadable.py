"""Files of the tables that are empty, cut, or have a flipped byte: what verify says of them, and what is derived."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from compactor.commands.verify.verify import verify
from compactor.lake.own_tables import ACKNOWLEDGED, FILES, QUARANTINE, RUNS
from tests.support.assertions import assert_failed
from tests.support.damage import (
    DATASETS,
    EVENTS,
    INJURIES,
    KINDS,
    PAST,
    STATE,
    a_file_of,
    cut,
    empty,
    failed,
    flip_at,
    run_repair,
    stop_in_the_middle_of_a_batch,
)
from tests.support.lake import Lake

TABLES = (PAST, EVENTS, STATE, FILES, QUARANTINE, RUNS)
NEEDED_BY_OTHERS = {FILES, PAST}
"""The sums of other tables are compared with theirs."""
SAMPLE = {
    (STATE, "data file", "flipped"),
    (STATE, "manifest", "cut"),
    (STATE, "metadata file", "flipped"),
    (EVENTS, "manifest list", "empty"),
    (FILES, "data file", "flipped"),
}


def flip_first_page(path: Path) -> None:
    flip_at(path, 48)


def cases() -> list[object]:
    every = itertools.product(TABLES, KINDS, INJURIES)
    return [pytest.param(*case, marks=() if case in SAMPLE else pytest.mark.soak) for case in every]


@pytest.mark.parametrize(("table", "kind", "injury"), cases())
def test_an_unreadable_file_fails_the_checks_of_its_table_and_what_can_be_derived_is(
    to_damage: Lake, table: str, kind: str, injury: str
) -> None:
    lake = to_damage
    path = a_file_of(lake, table, kind)
    saved = path.read_bytes()
    INJURIES[injury](path)

    report = verify(lake.config, lake.registry, rebuild=True, files=True, content=True)

    assert report.exit_code == 1
    assert [check for check in report.checks if check.table == table and not check.ok and str(path) in check.detail]
    others = {name for name, _ in failed(report)} - {table}
    assert table in NEEDED_BY_OTHERS or not others
    assert {check.table for check in report.checks} >= {*TABLES}

    plan = run_repair(lake, yes=False)
    assert plan.exit_code == 1
    mine = [each for each in plan.repairs or () if each.table == table]
    assert [each.possible for each in mine] == [table == STATE]

    report = run_repair(lake, yes=True)

    if table != STATE:
        assert report.exit_code == 1
        assert path.name in mine[0].wrong
        assert "from the bucket's versions or a backup" in mine[0].action
        path.write_bytes(saved)
        report = run_repair(lake, yes=False)
    assert report.exit_code == 0, failed(report)
    lake.assert_equals_model(DATASETS)


INTENTS = [("ledger", cut), ("ledger", empty), ("quarantine", flip_first_page), ("quarantine", Path.unlink)]


@pytest.mark.parametrize(
    ("part", "injure"), [INTENTS[0], *(pytest.param(*each, marks=pytest.mark.soak) for each in INTENTS[1:])]
)
def test_a_damaged_commit_intent_is_named_and_nothing_is_settled(
    to_damage: Lake, part: str, injure: Callable[[Path], None]
) -> None:
    lake = to_damage
    stop_in_the_middle_of_a_batch(lake)
    (path,) = (lake.folder / "warehouse").rglob(f"notes/*-{part}.parquet")
    saved = path.read_bytes()
    injure(path)

    report = run_repair(lake, yes=True)

    assert (PAST, "nothing unfinished") in failed(report)
    assert [each for each in report.repairs or () if each.done] == []
    (named,) = [each for each in report.repairs or () if each.table == PAST]
    assert path.name in named.wrong
    assert "from the bucket's versions or a backup" in named.action
    pattern = rf"{path.name} is (damaged|missing); run `compactor verify --repair`"
    assert_failed(lake.compact(full_scan=True), pattern)
    path.write_bytes(saved)
    assert run_repair(lake, yes=True).exit_code == 0
    lake.assert_equals_model(DATASETS)


def test_a_sound_lake_passes_all_checks_and_each_file_is_checked(to_damage: Lake) -> None:
    lake = to_damage
    report = verify(lake.config, lake.registry, rebuild=True, files=True, content=True)
    assert report.exit_code == 0, failed(report)
    found = {check.table: check.detail for check in report.checks if check.name == "content of each file"}
    assert found.keys() == {*TABLES, ACKNOWLEDGED}
    assert not [detail for detail in found.values() if "not checked" in detail]
    assert isinstance(a_file_of(lake, STATE, "data file"), Path)

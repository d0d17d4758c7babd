"""Lost tables of which no file is left: what the other tables and the source give back, and what they cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compactor.commands.migrate import migrate
from compactor.commands.migrate.rollback import rollback
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import LostTableError
from compactor.lake.own_tables import FILES, OWN_TABLES, QUARANTINE
from compactor.progress import NullProgress
from compactor.registry import loader
from tests.support.damage import EVENTS, PAST, STATE, run_repair
from tests.support.lake import SCHEMAS, Lake
from tests.support.lost import TwoNights, drop, drop_with_files, take_an_older_copy

VERBS: dict[str, Callable[[Lake], Any]] = {
    "replay": lambda lake: replay(lake.config, lake.registry, progress=NullProgress()),
    "migrate apply": lambda lake: migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress()),
    "migrate rollback": lambda lake: rollback(lake.config, lake.registry, confirmed=True, progress=NullProgress()),
    "the library": lambda lake: lake.tables.ensure(lake.registry, [STATE, EVENTS]),
}


def failed(lake: Lake) -> list[tuple[str, str]]:
    checks = verify(lake.config, lake.registry, rebuild=True, files=True).checks
    return [(check.table, check.name) for check in checks if not check.ok]


def delete_an_object(lake: Lake, dataset: str) -> str:
    """Takes an object that had new and rejected lines out of the source; its key."""
    row = next(row for row in lake.ledger() if row["dataset"] == dataset and row["new"] and row["quarantined"])
    (lake.source / row["key"]).unlink()
    return str(row["key"])


@pytest.mark.parametrize("table", [EVENTS, *(pytest.param(name, marks=pytest.mark.soak) for name in (PAST, FILES))])
@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_makes_a_lost_table_again(nights: TwoNights, verb: str, table: str) -> None:
    drop(nights, table)
    try:
        said = [str(problem) for problem in VERBS[verb](nights.lake).problems if problem.fails]
    except LostTableError as error:
        said = [str(error)]
    assert [each for each in said if f"{table}: the table is gone from the catalog" in each]
    assert not nights.lake.tables.exists(table)


def test_what_is_new_in_an_old_lake_is_made_in_silence(nights: TwoNights, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = nights.lake
    path = lake.folder / "schemas" / "fan_profiles.yaml"
    path.write_text((SCHEMAS / "fan_profiles.yaml").read_text())
    lake.registry = loader.load(lake.folder / "schemas")
    monkeypatch.setitem(OWN_TABLES, "compactor_notes", OWN_TABLES[QUARANTINE])
    try:
        report = lake.compact()
        assert (report.exit_code, report.problems) == (0, ())
        assert lake.tables.exists("fan_profiles_history")
        assert lake.tables.exists("compactor_notes")
        assert status(lake.config, lake.registry).problems == ()
    finally:
        path.unlink()
        lake.registry = loader.load(lake.folder / "schemas")


@pytest.mark.soak
def test_what_the_source_no_longer_has_is_left_to_the_operator(nights: TwoNights) -> None:
    lake = nights.lake
    key = delete_an_object(lake, EVENTS)
    (entry,) = (row for row in lake.ledger() if row["key"] == key)
    drop_with_files(nights, EVENTS)
    before = len(lake.ledger())

    report = run_repair(lake, yes=True)

    (repair,) = report.repairs or ()
    assert not repair.possible
    assert f"1 of its {len([r for r in lake.ledger() if r['dataset'] == EVENTS])} objects" in repair.wrong
    assert f"with {entry['new']} new records, are no longer in the source" in repair.wrong
    assert (len(lake.ledger()), lake.tables.exists(EVENTS)) == (before, False)
    assert f"delete the rows of these objects from {FILES}" in repair.action
    lake.tables.load_iceberg(FILES).delete(f"key = '{key}'")
    lake.tables.load_iceberg(QUARANTINE).delete(f"source_file = '{key}'")
    run_repair(lake, yes=True)
    lake.compact()
    assert failed(lake) == []
    kept = {row["key"] for row in lake.ledger() if row["dataset"] == EVENTS}
    assert key not in kept


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_ledger_that_is_counted_again_loses_no_record_that_the_source_lacks(nights: TwoNights) -> None:
    lake = nights.lake
    key = delete_an_object(lake, STATE)
    (entry,) = (row for row in lake.ledger() if row["key"] == key)
    history, quarantine = lake.history(STATE), lake.quarantine()
    drop_with_files(nights, FILES)
    run_repair(lake, yes=True)
    lake.compact()
    assert failed(lake) == []
    assert lake.history(STATE) == history
    assert len(lake.quarantine()) == len(quarantine)
    rows = [row for row in lake.ledger() if row["key"] == key]
    assert sorted((row["etag"], row["lines"], row["new"], row["quarantined"]) for row in rows) == sorted(
        [("recovered", entry["new"], entry["new"], 0), (entry["etag"], entry["quarantined"], 0, entry["quarantined"])]
    )


@pytest.mark.soak
def test_rejected_lines_that_the_source_lacks_keep_their_counts(nights: TwoNights) -> None:
    lake = nights.lake
    key = delete_an_object(lake, STATE)
    lines = [row for row in lake.quarantine() if row["source_file"] != key]
    drop_with_files(nights, QUARANTINE)
    run_repair(lake, yes=True)
    lake.compact()
    assert failed(lake) == [(QUARANTINE, "rows = quarantined lines of the ledger")]
    assert len(lake.quarantine()) == len(lines)


@pytest.mark.soak
def test_an_older_copy_in_a_lake_without_marks_is_found_by_its_files(nights: TwoNights) -> None:
    """Such as a lake of an older version of the program. One newer file can be of a commit that was killed."""
    lake = nights.lake
    (nights.folder_of(FILES) / "notes" / "tables.json").unlink()
    take_an_older_copy(nights, FILES)
    assert (FILES, "the table is as its last run left it") in failed(lake)
    run_repair(lake, yes=True)
    assert failed(lake) == []
    lake.assert_equals_model((STATE, EVENTS))

"""The program's own tables on a lake that an older version of the program has made."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.types import StringType

from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import ConflictError
from compactor.lake import own_tables
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import RUNS, stored_name
from compactor.lake.table import Table
from tests.support.fans import Fans
from tests.support.lake import Lake
from tests.support.versioned_fans import FANS, IN_PLACE
from tests.support.versioned_fans import Fans as VersionedFans

NEWER = ("version", "listed", "failures", "error")
HOURS = ["2026-11-01T05", "2026-11-01T09"]


def old_lake(folder: Path) -> Lake:
    """A lake with one run, whose list of runs has the columns of the first version of the program."""
    lake = Lake(folder)
    lake.deliver("fan_profiles", Fans(2, fans=4).lines("fan_profiles"), hour=HOURS[0])
    lake.compact(datasets=("fan_profiles",))
    make_old(lake)
    return lake


def make_old(lake: Lake) -> None:
    """Gives the list of runs the columns of the first version of the program, and a snapshot that has them."""
    table = lake.tables.load_iceberg(RUNS)
    with table.update_schema() as update:
        update.rename_column("watermark", "frontier")
        for name in NEWER:
            update.delete_column(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the library's own writer
        table.overwrite(table.scan().to_arrow())
    snapshot_id = lake.tables.table(RUNS).snapshot_id
    assert snapshot_id is not None
    assert lake.tables.table(RUNS).at(snapshot_id).schema.names[-1] == names(lake)[-1] == "frontier"


def names(lake: Lake) -> list[str]:
    found: list[str] = lake.tables.table(RUNS).schema.names
    return found


def field_ids(lake: Lake) -> dict[str, int]:
    return {field.name: field.field_id for field in lake.tables.load_iceberg(RUNS).schema().fields}


def test_an_older_list_of_runs_gets_the_columns_of_today_and_keeps_its_rows(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    before, rows = field_ids(lake), lake.rows(RUNS)
    files = [file.file_path for file in lake.tables.table(RUNS).files]

    lake.tables.ensure_own()

    after = field_ids(lake)
    assert list(after) == [*list(before)[:-1], "watermark", *NEWER]
    assert after["watermark"] == before["frontier"]
    assert after["version"] > max(before.values())
    assert [file.file_path for file in lake.tables.table(RUNS).files] == files
    assert [row["watermark"] for row in lake.rows(RUNS)] == [row["frontier"] for row in rows] == HOURS[:1]
    assert [row["version"] for row in lake.rows(RUNS)] == [None]


def test_to_update_a_table_twice_changes_it_once(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    lake.tables.ensure_own()
    version = lake.tables.table(RUNS).metadata_location
    lake.tables.ensure_own()
    assert lake.tables.table(RUNS).metadata_location == version
    assert not own_tables.update(lake.tables.table(RUNS))


def test_the_next_run_continues_from_the_watermark_under_its_old_name(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    lake.deliver("fan_profiles", Fans(3, fans=4).lines("fan_profiles"), hour=HOURS[1])

    report = lake.compact(datasets=("fan_profiles",))

    assert [each.objects for each in report.datasets] == [1]
    assert sorted(row["watermark"] for row in lake.rows(RUNS)) == HOURS
    lake.assert_equals_model(["fan_profiles"])


def test_verbs_that_only_read_take_the_table_as_it_is(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    location = lake.tables.table(RUNS).metadata_location

    report = status(lake.config, lake.registry)
    checked = verify(lake.config, lake.registry, rebuild=True, files=True)

    assert report.pending["fan_profiles"].objects == 0
    assert len(report.runs) == 1
    assert checked.exit_code == 0
    assert lake.tables.table(RUNS).metadata_location == location


def test_a_rollback_finds_the_watermark_of_a_run_from_before_the_update(tmp_path: Path) -> None:
    """The tag is on a snapshot that has the old name, though the table was updated before it was tagged."""
    fans = VersionedFans(tmp_path)
    make_old(fans.lake)
    (row,) = fans.lake.rows(RUNS)
    fans.write(FANS + IN_PLACE)
    fans.apply()

    fans.roll_back()

    newest = max(fans.lake.rows(RUNS), key=lambda each: str(each["finished_at"]))
    assert (newest["verb"], newest["watermark"]) == ("rollback", row["frontier"])


def test_the_stored_name_of_a_column_is_the_one_that_the_table_has(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    old = lake.tables.table(RUNS)
    assert stored_name(old, "watermark") == "frontier"
    assert stored_name(old, "run_id") == "run_id"

    lake.tables.ensure_own()

    new = lake.tables.table(RUNS)
    assert stored_name(new, "watermark") == "watermark"
    assert new.snapshot_id is not None
    lake.deliver("fan_profiles", Fans(3, fans=4).lines("fan_profiles"), hour=HOURS[1])
    lake.compact(datasets=("fan_profiles",))
    assert stored_name(lake.tables.table(RUNS).at(new.snapshot_id), "watermark") == "frontier"


def test_columns_that_the_program_does_not_know_stay(tmp_path: Path) -> None:
    lake = old_lake(tmp_path)
    with lake.tables.load_iceberg(RUNS).update_schema() as update:
        update.add_column("team", StringType())
    lake.tables.ensure_own()
    assert names(lake)[-6:] == ["watermark", "team", *NEWER]


def test_two_runs_that_update_a_table_at_once_change_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = old_lake(tmp_path)
    both = threading.Barrier(2)
    original = own_tables.updated_schema
    conflicts = []

    def met(table: Table, own: Any) -> Any:
        """Both have loaded the old table before one of them commits."""
        found = original(table, own)
        if found is not None and table.name == RUNS:
            both.wait(10)
        return found

    update = own_tables.update

    def counted(table: Table) -> bool:
        try:
            return update(table)
        except ConflictError:
            conflicts.append(table.name)
            raise

    monkeypatch.setattr(own_tables, "updated_schema", met)
    monkeypatch.setattr(own_tables, "update", counted)
    lakes = [lake.tables, lake.tables]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Lakehouse.ensure_own, lakes))

    assert conflicts == [RUNS]
    assert names(lake)[-5:] == ["watermark", *NEWER]
    assert [row["watermark"] for row in lake.rows(RUNS)] == HOURS[:1]

"""Other engines may work on the tables: all engines still read the same rows, and so does the next night."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engines.conftest import Check
from tests.engines.engines import Engine
from tests.engines.maintenance import ForeignLake
from tests.engines.same import assert_all_same
from tests.support.lake import Lake

MAINTAINED = ("maintained_trino", "maintained_spark35", "maintained_spark41")
DELETED = ("deleted_trino", "deleted_spark35")
Lakes = Callable[[str], ForeignLake]


@pytest.mark.parametrize("how", [*MAINTAINED, *DELETED])
def test_what_another_engine_has_worked_on_is_read(
    engine: Engine, check: Check, foreign_lakes: Lakes, how: str
) -> None:
    lake = foreign_lakes(how)
    reader = engine.open(lake)
    with check(how):
        assert_all_same((table, reader.rows(table), lake.expected(table)) for table in lake.record_tables)


@pytest.mark.parametrize("how", MAINTAINED)
def test_a_night_after_maintenance_succeeds_and_verify_finds_nothing(foreign_lakes: Lakes, how: str) -> None:
    lake = foreign_lakes(how)
    lake.assert_equals_model([name for name in lake.record_tables if not name.endswith("_history")])
    assert lake.failed == []


@pytest.mark.parametrize("how", DELETED)
def test_deleted_rows_stay_deleted_and_verify_finds_nothing_else(foreign_lakes: Lakes, how: str) -> None:
    lake = foreign_lakes(how)
    for table in lake.record_tables:
        found = {row["id"]: row for row in lake.rows(table)}
        assert found == {row["id"]: row for row in lake.expected(table)}, table
    assert {check.table for check in lake.failed} == {"fan_profiles_history", "fan_track_events"}


def test_a_commit_that_the_catalog_does_not_name_is_not_read(
    engine: Engine, check: Check, uncommitted_lake: Lake
) -> None:
    reader = engine.open(uncommitted_lake)
    with check("pointer"):
        rows = list(uncommitted_lake.model.history("fan_profiles").values())
        assert_all_same([("fan_profiles_history", reader.rows("fan_profiles_history"), rows)])

"""The layout of the tables is of use to each engine: what its own plan or counters say of the files that it opens."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from tests.engines.conftest import Check
from tests.engines.engines import Engine
from tests.engines.lakes import OddLake, SortedLake, file_days
from tests.engines.results import Condition
from tests.engines.same import assert_same_rows

DAY = date(2026, 10, 2)
FIRST = datetime(2026, 10, 2, tzinfo=UTC)


def test_a_filter_on_a_day_opens_the_files_of_that_day_alone(engine: Engine, check: Check, odd_lake: OddLake) -> None:
    reader, table = engine.open(odd_lake), "fan_track_events"
    days = file_days(odd_lake, table)
    where = [
        Condition("occurred_at", ">=", FIRST),
        Condition("occurred_at", "<", FIRST + timedelta(days=1)),
    ]
    with check("days"):
        expected = [row for row in odd_lake.expected(table) if row["occurred_at"].date() == DAY]
        assert expected
        assert_same_rows(reader.rows(table, where), expected, "the day")
        opened = reader.files(table, where)
        assert opened == days[DAY] < sum(days.values()), f"{opened} files opened, the day has {days[DAY]}"


def test_a_lookup_of_a_key_opens_the_one_file_that_may_have_it(
    engine: Engine, check: Check, sorted_lake: SortedLake
) -> None:
    reader, table = engine.open(sorted_lake), "fan_profiles"
    assert len(sorted_lake.data_files()) >= 4
    row = min(sorted_lake.model.current(table).values(), key=lambda row: str(row["id"]))
    where = [Condition("rover_id", "=", row["rover_id"])]
    with check("lookup"):
        assert_same_rows(reader.rows(table, where), [row], "the fan")
        opened = reader.files(table, where)
        assert opened == 1, f"{opened} files opened"

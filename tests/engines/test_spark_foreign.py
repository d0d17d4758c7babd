"""Spark loads into tables that have columns of another engine, as the engine in this process does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.spark_engine import on_spark, session
from tests.support.outsider import VALUES, add_columns, values
from tests.support.ruled_fans import OLD, RuledFans

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed .*socket:ResourceWarning"),  # by the client of Spark
    pytest.mark.filterwarnings("ignore:Parquet writer option:UserWarning"),  # by PyIceberg, which adds the columns
]
# Spark cannot write a column whose name is not unique without regard to case, nor a UUID that it has not read.
COLUMNS = {name: of for name, of in VALUES.items() if name not in ("f_time", "f_uuid")}


@pytest.fixture(scope="module")
def spark() -> Iterator[None]:
    with session():
        yield


@pytest.mark.usefixtures("spark")
def test_spark_keeps_the_columns_of_another_engine(tmp_path: Path) -> None:
    fans = RuledFans(tmp_path, settings=on_spark())
    fans.night()
    for table in ("things_history", "things"):
        add_columns(fans.lake, table, COLUMNS)
    past, current = set(fans.ids("things_history")), set(fans.ids())
    fans.night(5)
    fans.deliver_records([{**fans.records[0], "emittedAt": "2026-10-01T00:00:00Z"}])  # replaces a stored row
    fans.lake.compact(full_scan=True)
    given, none = {name: value for name, (_, value) in COLUMNS.items()}, dict.fromkeys(COLUMNS)
    for table, found in (("things_history", past), ("things", current)):
        for number, row in values(fans.lake, table, "id", COLUMNS).items():
            assert row == (given if number in found else none), (table, number)
    assert current & set(fans.ids()), "no row has a value: the test shows nothing"
    fans.assert_current(OLD)

"""Small data files are read whole: the rows are those of the library's reader, and what differs is left to it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, EqualTo, GreaterThanOrEqual, In, NotNull
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from compactor.lake import small_files
from compactor.lake.own_tables import FILES
from tests.support.lake import Lake

DATASET = "fan_track_events"
COLUMNS = ("key", "lines", "loaded_at")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("small"))
    for hour in range(3):
        for part in ("a", "b"):
            lake.deliver(DATASET, [b"bad"] * (hour + 1), hour=f"2026-11-01T0{hour}", part=part)
    lake.compact()
    return lake


def ledger(lake: Lake) -> tuple[IcebergTable, FileScanTask]:
    table = lake.catalog.load_table(f"rover.{FILES}")
    return table, next(iter(table.scan().plan_files()))


@pytest.mark.parametrize(
    "rows",
    [
        None,
        EqualTo(term="dataset", value=DATASET),
        EqualTo(term="dataset", value="another"),
        And(In(term="lines", literals=[1, 3]), NotNull(term="loaded_at")),
        GreaterThanOrEqual(term="key", value=f"exports/{DATASET}/date=2026-11-01/hour=01/"),
    ],
)
def test_the_rows_are_those_of_the_library(lake: Lake, rows: BooleanExpression | None) -> None:
    table, task = ledger(lake)
    columns = table.schema().select(*COLUMNS)
    found = small_files.read(table, columns, task, rows)
    assert found is not None
    expected = table.scan(AlwaysTrue() if rows is None else rows, selected_fields=COLUMNS).to_arrow()
    assert found.column_names == list(COLUMNS)
    assert found.cast(expected.schema).sort_by("key").equals(expected.sort_by("key"))


def test_what_differs_from_the_table_is_left_to_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    lake.deliver(DATASET, [b"bad"])
    lake.compact()
    table, task = ledger(lake)
    with table.update_schema() as change:
        change.rename_column("lines", "number")
    renamed = table.schema().select("number")
    assert small_files.read(table, renamed, task, None) is None
    assert small_files.read(table, table.schema().select("key"), task, EqualTo(term="number", value=1)) is None
    assert small_files.read(table, table.schema().select("key"), task, None) is not None
    rows = ArrowScan(table.metadata, table.io, renamed, EqualTo(term="number", value=1)).to_table([task])
    assert rows.equals(pa.table({"number": pa.array([1], pa.int64())}, schema=rows.schema))
    monkeypatch.setattr(small_files, "MOST_BYTES", task.file.file_size_in_bytes - 1)
    assert small_files.read(table, table.schema().select("key"), task, None) is None

"""A store gives the rows that it was given, whether they lie in memory or in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from compactor.duck.row_store import RowStore

SCHEMA = pa.schema([("id", pa.string()), ("map", pa.map_(pa.string(), pa.string()))])


def rows(first: int, count: int) -> pa.RecordBatch:
    numbers = range(first, first + count)
    return pa.record_batch([[f"r{n}" for n in numbers], [[("k", f"{n}")] for n in numbers]], schema=SCHEMA)


@pytest.mark.parametrize(("memory", "is_spilled"), [(1 << 30, False), (4000, True), (0, True)])
def test_rows_have_the_numbers_by_which_they_were_added(tmp_path: Path, memory: int, is_spilled: bool) -> None:
    store = RowStore(SCHEMA, memory=memory, folder=tmp_path)
    assert [store.add(rows(first, 50)) for first in range(0, 1000, 50)] == list(range(0, 1000, 50))
    assert (store.num_rows, store.is_spilled) == (1000, is_spilled)
    numbers = np.array([999, 0, 500, 500, 49, 50], np.int64)
    assert store.take(numbers)["id"].to_pylist() == [f"r{n}" for n in numbers]
    assert store.table["map"].to_pylist() == [[("k", f"{n}")] for n in range(1000)]
    assert list(tmp_path.iterdir()) == []  # a killed run leaves none of its files


def test_rows_that_come_after_some_were_taken_are_there_too(tmp_path: Path) -> None:
    store = RowStore(SCHEMA, memory=2000, folder=tmp_path)
    for first in range(0, 300, 30):
        store.add(rows(first, 30))
        last = np.array([first + 29, 0], np.int64)
        assert store.take(last)["id"].to_pylist() == [f"r{first + 29}", "r0"]


def test_a_store_that_is_cleared_has_no_rows(tmp_path: Path) -> None:
    store = RowStore(SCHEMA, memory=2000, folder=tmp_path)
    store.add(rows(0, 100))
    store.clear()
    assert (store.num_rows, store.table.num_rows) == (0, 0)

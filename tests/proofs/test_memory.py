"""Memory is what the setting says: a night is merged into a table many times as large as `resources.memory`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_figures import MB, measure
from bench_merges import DAYS, limited_compact

BESIDE = 500 * MB
"""What a run needs beside the setting: Python, mapped libraries, the buffers of readers and of Parquet."""


@pytest.mark.parametrize(
    ("rows", "keys", "memory"),
    [
        (600_000, 60_000, 128 << 20),
        pytest.param(2_000_000, 100_000, 256 << 20, marks=pytest.mark.soak),
        pytest.param(5_000_000, 100_000, 1 << 30, marks=pytest.mark.soak),
        pytest.param(20_000_000, 100_000, 1 << 30, marks=pytest.mark.soak),
    ],
)
def test_a_merge_into_a_table_larger_than_the_memory_setting_stays_within_it_and_ends_well(
    tmp_path: Path, rows: int, keys: int, memory: int, record_property: Callable[[str, object], None]
) -> None:
    """In a control group of that size where the machine has them: a process that needs more is killed there."""
    measure("bench_merge.py", "fill", tmp_path, rows, DAYS)
    measure("bench_merge.py", "night", tmp_path, rows, DAYS, keys)

    sample, limited = limited_compact(tmp_path, memory=memory, limit=memory + BESIDE)

    record_property("peak MB", round(sample.peak_bytes / MB))
    record_property("in a control group", limited)
    assert (sample.found["lines"], sample.found["new"]) == (keys, keys)
    assert measure("bench_merge.py", "count", tmp_path).found == {"rows": rows + keys // 2}
    assert sample.peak_bytes < memory + BESIDE

"""The parts of `make bench` run to their end, on small data."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
import bench_fixed
import bench_hostile
import bench_loads
import bench_merges
from bench_figures import HEADINGS, Bench
from hostile_kinds import KINDS

pytestmark = pytest.mark.soak

SMALL = (
    (bench_loads, {"FILE_LINES": 500, "TINY_FILES": 20}),
    (bench_merges, {"MERGE_ROWS": 2000, "MERGE_KEYS": 400, "LARGE_ROWS": (4000,), "LARGE_KEYS": 200}),
    (bench_merges, {"MIGRATED_ROWS": 2000}),
    (bench_fixed, {"NIGHTS": 1}),
    (bench_hostile, {"KINDS": KINDS[:2], "_GOOD_BYTES": 100_000}),
)


@pytest.mark.parametrize("part", bench.PARTS)
def test_each_part_of_the_benchmark_ends_with_its_rows(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, sizes in SMALL:
        for name, value in sizes.items():
            monkeypatch.setattr(module, name, value)
    run = Bench(tmp_path)
    bench.PARTS[part](run)
    assert run.rows
    assert all(len(row.cells()) == len(HEADINGS) for row in run.rows)
    assert all(row.samples or row.result for row in run.rows)

"""What hostile input costs: each kind is loaded by a process of its own, beside good lines in the same run.

A kind's figure is its CPU time a line over that of a good line of the same length; a line shorter than a usual one is
compared with that. Both are end to end: unpack, decode, merge, quarantine, commit. What a run over one line takes is
taken away from both.
"""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench_figures import MB, Bench, Sample, measure, report
from bench_loads import write_config
from hostile_kinds import DATASET, KINDS, USUAL, good, record

MEMORY = "512MiB"
TIMES = 5
_GOOD_LENGTHS = (USUAL, 1024, 4096, 16384)
_GOOD_BYTES = 25_000_000


@dataclass(frozen=True)
class Cost:
    """What a kind cost: CPU seconds a line, and how many times as much as a good line of its length."""

    name: str
    raw_bytes: int
    sample: Sample
    per_line: float
    ratio: float


def hostile(bench: Bench) -> None:
    first = len(bench.rows)
    for cost in costs(bench.folder):
        row = bench.row(f"hostile: {cost.name}", raw_bytes=cost.raw_bytes)
        row.samples.append(cost.sample)
        row.result, row.aim = f"{cost.per_line * 1e6:,.2f} us a line, {cost.ratio:.2f} x good", f"<= {TIMES} x"
        row.met = cost.ratio <= TIMES
    peak = max(row.peak_bytes for row in bench.rows[first:])
    bench.note("hostile: the highest peak memory", f"{peak / MB:,.0f} MB", "< 1 GiB", met=peak < 1 << 30)


def costs(folder: Path) -> Iterator[Cost]:
    """Measures the kinds one by one."""

    def load(name: str, content: bytes) -> Sample:
        report(f"hostile: {name}")
        lake = folder / "hostile"
        file = write_config(lake, lake / "source", f"resources: {{memory: {MEMORY}}}\n")
        hour = lake / "source" / "exports" / DATASET / "date=2026-11-01" / "hour=05"
        hour.mkdir(parents=True)
        (hour / f"{DATASET}-20261101T050000Z-part-a.ndjson.gz").write_bytes(gzip.compress(content, 1))
        sample = measure("bench_load.py", "compact", file, DATASET)
        shutil.rmtree(lake)
        return sample

    base = load("one line", record(0, random.Random(0))).found["cpu_seconds"]
    per_byte = {}
    for length in _GOOD_LENGTHS:
        kind = good(length)
        content = kind.content(_GOOD_BYTES // length)
        per_byte[length] = (load(kind.name, content).found["cpu_seconds"] - base) / len(content)
    for kind in KINDS:
        content = kind.content()
        sample = load(kind.name, content)
        per_line = (sample.found["cpu_seconds"] - base) / kind.lines
        length = max(USUAL, len(content) // kind.lines)
        alike = per_byte[max(each for each in _GOOD_LENGTHS if each <= length)] * length
        yield Cost(kind.name, len(content), sample, per_line, per_line / alike)

"""What hostile input costs: each kind is loaded by a process of its own, beside good lines in the same run.

A kind's figure is its CPU time a line over that of a good line of the same length; a line shorter than a usual one is
compared with that. Both are end to end: unpack, decode, merge, quarantine, commit. What a run over one line takes is
taken away from both.
"""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hostile_kinds import DATASET, KINDS, USUAL, good, record

SCHEMAS = Path(__file__).resolve().parents[1] / "configs" / "schemas"
MEMORY = "512MiB"
_GOOD_LENGTHS = (USUAL, 1024, 4096, 16384)
_GOOD_BYTES = 25_000_000


class Sample(Protocol):
    """What a run of a process gave."""

    @property
    def found(self) -> dict[str, Any]: ...
    @property
    def peak_bytes(self) -> int: ...


@dataclass(frozen=True)
class Cost:
    """What a kind cost: CPU seconds a line, and how many times as much as a good line of its length."""

    name: str
    raw_bytes: int
    sample: Any
    per_line: float
    ratio: float


def costs(folder: Path, measure: Callable[..., Sample], report: Callable[[str], None]) -> Iterator[Cost]:
    """Measures the kinds one by one. `measure` runs one of our scripts to its end."""

    def load(name: str, content: bytes) -> Sample:
        report(f"hostile: {name}")
        lake = folder / "hostile"
        hour = lake / "source" / "exports" / DATASET / "date=2026-11-01" / "hour=05"
        hour.mkdir(parents=True)
        (hour / f"{DATASET}-20261101T050000Z-part-a.ndjson.gz").write_bytes(gzip.compress(content, 1))
        file = lake / "config.yaml"
        file.write_text(
            f"source: {{url: source}}\nwarehouse: warehouse\nschemas: {json.dumps(str(SCHEMAS))}\n"
            f"resources: {{memory: {MEMORY}}}\n"
        )
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

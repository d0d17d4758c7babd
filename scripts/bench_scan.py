"""Scans an export by the native scanner alone, as one process of a benchmark.

    python scripts/bench_scan.py SOURCE DATASET

All is unpacked and cut into blocks of whole lines before the clock starts. Prints one JSON object: the lines, how many
of them the scanner left to the exact decoder, and the seconds; or `unavailable` where the scanner was not built.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from isal import igzip

from bench_figures import ROOT
from compactor.registry import loader

BLOCK = 1 << 21
PASSES = 5
"""One takes a twentieth of a second: too little to time. The result is that of one pass, on average."""
LINE_LIMIT = 16 << 20


def blocks(source: Path, dataset: str) -> Iterator[bytes]:
    """The lines of a dataset, about 2 MiB at a time."""
    for path in sorted((source / "exports" / dataset).rglob("*.ndjson.gz")):
        data: bytes = igzip.decompress(path.read_bytes())  # type: ignore[no-untyped-call]  # isal types it in part
        start = 0
        while start < len(data):
            end = data.find(b"\n", min(start + BLOCK, len(data)) - 1) + 1 or len(data)
            yield data[start:end]
            start = end


def scan(source: Path, name: str) -> dict[str, object]:
    try:
        native = importlib.import_module("compactor.decode.scanner")
    except ModuleNotFoundError:
        return {"unavailable": "this version has no scanner", "seconds": 0.0}
    if not native.available():
        return {"unavailable": "the scanner was not built", "seconds": 0.0}
    dataset = loader.load(ROOT / "configs" / "schemas").get(name)
    scanner = native.Scanner(dataset.newest, dataset.version_field, line_limit=LINE_LIMIT)
    data = list(blocks(source, name))
    wall, cpu = time.perf_counter(), time.process_time()
    rows = unsure = 0
    for _ in range(PASSES):
        for block in data:
            scanned = scanner.scan(block)
            rows, unsure = rows + scanned.rows.num_rows, unsure + len(scanned.unsure)
    wall, cpu = (time.perf_counter() - wall) / PASSES, (time.process_time() - cpu) / PASSES
    return {"lines": (rows + unsure) // PASSES, "unsure": unsure // PASSES, "seconds": wall, "cpu_seconds": cpu}


if __name__ == "__main__":
    print(json.dumps(scan(Path(sys.argv[1]), sys.argv[2])))

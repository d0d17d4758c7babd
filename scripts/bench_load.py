"""Loads an export, or only unpacks and parses it, as one process of a benchmark.

    python scripts/bench_load.py parse SOURCE DATASET...       isal and orjson, line by line
    python scripts/bench_load.py compact CONFIG DATASET...     as `compactor compact`, into the lake of the config

Prints one JSON object. The times do not include the start of Python and the imports.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from isal import igzip

import compactor
from compactor.cli import libraries

_IMPORTED = ("compactor.commands.compact", "compactor.engines.local", "pyiceberg.catalog.sql")


def parse(source: str, datasets: Sequence[str]) -> dict[str, int]:
    lines = 0
    for dataset in datasets:
        for path in sorted(Path(source, "exports", dataset).rglob("*.ndjson.gz")):
            with igzip.IGzipFile(path, "rb") as file:  # type: ignore[no-untyped-call]  # isal types it only in part
                for line in file:  # faster than unpacking all and splitting
                    orjson.loads(line)
                    lines += 1
    return {"lines": lines}


def load(file: str, datasets: Sequence[str]) -> dict[str, int]:
    done = compactor.open(file).compact(datasets).datasets
    return {
        "lines": sum(dataset.lines for dataset in done),
        "new": sum(dataset.new for dataset in done),
        "quarantined": sum(dataset.quarantined for dataset in done),
    }


def main(verb: str, target: str, *datasets: str) -> None:
    step: Callable[[str, Sequence[str]], dict[str, int]] = {"parse": parse, "compact": load}[verb]
    if verb == "compact":  # what the command line does first, and what a run imports, do not count
        libraries.prepare()
        for name in _IMPORTED:
            importlib.import_module(name)
    wall, cpu = time.perf_counter(), time.process_time()
    found = step(target, datasets)
    timed = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    print(json.dumps({**found, **timed}), flush=True)
    os._exit(0)  # as the command line does, see `cli.exit`


if __name__ == "__main__":
    main(*sys.argv[1:])

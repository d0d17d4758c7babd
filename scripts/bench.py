"""Measures the compactor on generated data, beside references that are measured in the same run.

    python scripts/bench.py                          all parts, about a quarter of an hour on two cores
    python scripts/bench.py --only loads --only s3   only these parts
    python scripts/bench.py --full                   three times the data, more rounds, 20 million rows
    python scripts/bench.py --json FILE              also writes every sample, for a program
    python scripts/bench.py --docs                   also writes the results into docs/performance.md

Each measurement is a process of its own, to get its own peak memory. Compared steps run in turns. The table shows
medians. docs/performance.md explains the figures. Exit code 1: a result was wrong, so no figure is valid.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import bench_fixed
import bench_hostile
import bench_loads
import bench_merges
from bench_figures import (
    HEADINGS,
    ROOT,
    Bench,
    Row,
    caption,
    machine,
    markdown,
    measure,
    measured_on,
    report,
    rewrite_section,
    show,
)

PAGE = ROOT / "docs" / "performance.md"
NOTE = "MB are 10^6 bytes, MB/s of uncompressed NDJSON; medians, and the highest peaks."


def s3(bench: Bench) -> None:
    """Loads from S3 into S3 with a delay of each request. Their module brings a server: only this part imports it."""
    try:
        module = importlib.import_module("bench_s3")
    except ModuleNotFoundError as error:
        bench.note("S3 with a delay", f"not measured: {error}")
        return
    for found in module.distances(bench.folder, measure, report):
        for where, sample in (("on a local disk", found.near), ("on S3, 30 ms a request", found.far)):
            bench.row(f"{found.name}: {where}").samples.append(sample)
        sent = ", ".join(f"{count:,} {method}" for method, count in sorted(found.requests.items()))
        met = found.ratio <= found.most
        bench.note("  times as long on S3", f"{found.ratio:.1f} ({sent})", f"<= {found.most:g}", met=met)


PARTS: dict[str, Callable[[Bench], None]] = {
    "loads": bench_loads.loads,
    "scanner": bench_loads.scanner,
    "merges": bench_merges.merges,
    "memory": bench_merges.memory,
    "migrate": bench_merges.migrate,
    "s3": s3,
    "fixed": bench_fixed.fixed,
    "hostile": bench_hostile.hostile,
}


def cells(rows: list[Row]) -> list[list[str]]:
    return [row.cells() for row in rows]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="three times the data, more rounds")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="measure only this part (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample there")
    parser.add_argument("--docs", action="store_true", help="also write the table into docs/performance.md")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for temporary data; default: the system's")
    arguments = parser.parse_args(argv)
    facts = machine("duckdb", "isal", "orjson", "pyarrow", "pyiceberg")
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compactor-bench-", dir=arguments.work) as folder:
        bench = Bench(Path(folder), full=arguments.full)
        for part in arguments.only or PARTS:
            PARTS[part](bench)
    show(HEADINGS, cells(bench.rows), f"{NOTE} {caption(facts)}")
    if arguments.json:
        found = {"machine": facts, "rows": [row.to_json() for row in bench.rows]}
        arguments.json.write_text(json.dumps(found, indent=2))
    if arguments.docs:
        rewrite_section(PAGE, "results", measured_on(facts) + markdown(HEADINGS, cells(bench.rows)))


if __name__ == "__main__":
    main()

"""Measures the compactor on generated data, beside references that are measured in the same run.

    python scripts/bench.py                  a few minutes on two cores
    python scripts/bench.py --full           three times the data, more rounds
    python scripts/bench.py --only hostile   what hostile input costs, beside good lines
    python scripts/bench.py --json FILE      also writes every sample, for a program

Each measurement is a process of its own, to get its own peak memory. Compared steps run in turns. The table shows
medians. docs/performance.md explains the figures. Exit code 1: a result was wrong, so no figure is valid.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import bench_hostile
from bench_data import EVENTS, IDENTITIES, MERGES, PROFILES, Part, Written, write_export

SCRIPTS = Path(__file__).resolve().parent
ALL = (EVENTS, PROFILES, IDENTITIES, MERGES)
MB = 1_000_000
PINNED = hasattr(os, "sched_setaffinity")  # Linux


@dataclass(frozen=True)
class Sample:
    """One run of a process: what it printed, and its peak resident memory."""

    found: dict[str, Any]
    peak_bytes: int

    @property
    def seconds(self) -> float:
        return float(self.found["seconds"])


@dataclass
class Row:
    """A line of the result. `met`: whether the aim was reached; None without an aim."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    raw_bytes: int = 0
    result: str = ""
    aim: str = ""
    met: bool | None = None

    @property
    def seconds(self) -> float:
        return statistics.median(sample.seconds for sample in self.samples)

    @property
    def cpu_seconds(self) -> float | None:
        found = [sample.found["cpu_seconds"] for sample in self.samples if "cpu_seconds" in sample.found]
        return statistics.median(found) if found else None

    @property
    def peak_bytes(self) -> int:
        return max((sample.peak_bytes for sample in self.samples), default=0)

    def cells(self) -> list[str]:
        if not self.samples:
            return [self.name, "", "", "", "", *self._verdict()]
        cpu, rate = self.cpu_seconds, self.raw_bytes / MB / self.seconds
        return [
            self.name,
            f"{self.seconds:,.2f}",
            f"{cpu:,.2f}" if cpu is not None else "",
            f"{rate:,.0f}" if self.raw_bytes else "",
            f"{self.peak_bytes / MB:,.0f}",
            *self._verdict(),
        ]

    def _verdict(self) -> list[str]:
        return [self.result, self.aim, {None: "", True: "yes", False: "NO"}[self.met]]

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"name": self.name, "result": self.result, "aim": self.aim, "met": self.met}
        if self.samples:
            facts |= {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_bytes": self.peak_bytes}
            facts |= {"raw_bytes": self.raw_bytes, "samples": [asdict(sample) for sample in self.samples]}
        return facts


@dataclass(frozen=True)
class Export:
    """A generated export in a folder of its own."""

    source: Path
    datasets: tuple[str, ...]
    written: Written


class Bench:
    """All measurements, below one folder."""

    def __init__(self, folder: Path, *, full: bool) -> None:
        self._folder = folder
        self._full = full
        self._rounds = 5 if full else 3
        self.rows: list[Row] = []

    def run(self) -> None:
        times = 3 if self._full else 1
        events = Part(EVENTS, 4 * times, 50_000)
        state = [Part(PROFILES, 2 * times, 50_000), Part(IDENTITIES, 2 * times, 50_000), Part(MERGES, times, 20_000)]
        self._load_next_to_parsing("events", [events])
        self._load_next_to_parsing("4 datasets", [events, *state])
        self._load("1,440 files of 30 lines", [Part(EVENTS, 1440, 30, per_hour=60)], self._rounds, per_file=True)
        self._load("one file of 50 MB", [Part(EVENTS, 1, 128_000)], self._rounds)
        big = self._load("2 million events", [Part(EVENTS, 40, 50_000)], 3 if self._full else 1)
        self._aim("  its peak memory", f"{big.peak_bytes / MB:,.0f} MB", "< 2,000 MB", met=big.peak_bytes < 2000 * MB)
        self._merge(rows=1_000_000, days=10, keys=200_000, upserts=3 if self._full else 1)
        self._migrate(rows=5_000_000, days=10)

    def run_hostile(self) -> None:
        for cost in bench_hostile.costs(self._folder, measure, report):
            result = f"{cost.per_line * 1e6:,.2f} us a line, {cost.ratio:.2f} x good"
            row = Row(cost.name, [cost.sample], cost.raw_bytes, result, "<= 5 x", met=cost.ratio <= 5)
            self.rows.append(row)
        peak = max(row.peak_bytes for row in self.rows)
        self._aim("the highest peak memory", f"{peak / MB:,.0f} MB", "< 1 GiB", met=peak < 1 << 30)

    def _load_next_to_parsing(self, name: str, parts: list[Part]) -> None:
        export = self._export(name, parts)
        parsing = self._row(f"{name}: unpack and parse, one core", export)
        loading = self._row(f"{name}: load", export)
        one_core_load = self._row(f"{name}: load, one core", export) if PINNED else None
        for number in range(self._rounds):
            report(f"{name}: round {number + 1} of {self._rounds}")
            with one_core():
                parsing.samples.append(measure("bench_load.py", "parse", export.source, *export.datasets))
                if one_core_load:
                    one_core_load.samples.append(self._compact(export))
            loading.samples.append(self._compact(export))
        ratio = loading.seconds / parsing.seconds
        self._aim(f"{name}: load / parse", f"{ratio:.2f}", "<= 1.00", met=ratio <= 1)
        if one_core_load:
            self._aim(f"{name}: load / parse, both one core", f"{one_core_load.seconds / parsing.seconds:.2f}")
        shutil.rmtree(export.source)

    def _load(self, name: str, parts: list[Part], rounds: int, *, per_file: bool = False) -> Row:
        export = self._export(name, parts)
        row = self._row(f"load {name}", export)
        for number in range(rounds):
            report(f"{name}: round {number + 1} of {rounds}")
            row.samples.append(self._compact(export))
        if per_file:
            row.result = f"{export.written.files / row.seconds:,.0f} files/s"
        shutil.rmtree(export.source)
        return row

    def _merge(self, *, rows: int, days: int, keys: int, upserts: int) -> None:
        name = f"{keys:,} keys into {rows:,} rows"
        ours = self._row(f"merge {name}")
        hashes = self._row("  its content hashes")
        theirs = self._row("  the same by PyIceberg's upsert")
        for number in range(max(self._rounds, upserts)):
            report(f"{name}: round {number + 1} of {max(self._rounds, upserts)}")
            left, right = self._folder / "merge", self._folder / "upsert"
            measure("bench_merge.py", "fill", left, rows, days)
            ours.samples.append(measure("bench_merge.py", "merge", left, rows, days, keys))
            hashes.samples.append(measure("bench_merge.py", "hash", left))
            if number < upserts:
                measure("bench_merge.py", "fill", right, rows, days)
                theirs.samples.append(measure("bench_merge.py", "upsert", right, rows, days, keys))
                found = measure("bench_merge.py", "compare", left, rows, days, keys, right).found
                expected = {"ours": rows + keys // 2, "theirs": rows + keys // 2, "different": 0, "missing": 0}
                check(f"merge {name}", found, expected)
                shutil.rmtree(right)
            shutil.rmtree(left)
        share = (hashes.cpu_seconds or 0) / (ours.cpu_seconds or 1)
        hashes.result, hashes.aim, hashes.met = f"{share:.1%} of its CPU", "< 5%", share < 0.05
        ratio = theirs.seconds / ours.seconds
        self._aim("  times as fast as upsert", f"{ratio:.1f}", ">= 25", met=ratio >= 25)

    def _migrate(self, *, rows: int, days: int) -> None:
        name = f"migrate {rows:,} rows"
        report(f"{name}: generating")
        folder = self._folder / "migrate"
        measure("bench_merge.py", "fill", folder, rows, days)
        for words, what in (("in place", "in-place"), ("rewritten for another type", "retype")):
            report(f"{name}: {words}")
            row = self._row(f"{name}, {words}")
            row.samples.append(measure("bench_migrate.py", what, folder))
            found = row.samples[0].found
            check(name, found, {"rows": rows, "kept": found["files"] if what == "in-place" else 0})
            row.result = f"{found['kept']:.0f} of {found['files']:.0f} files kept"
        shutil.rmtree(folder)

    def _export(self, name: str, parts: list[Part]) -> Export:
        report(f"{name}: generating")
        source = self._folder / "source"
        written = write_export(source, parts)
        return Export(source, tuple(part.dataset for part in parts), written)

    def _compact(self, export: Export) -> Sample:
        lake = self._folder / "lake"
        lake.mkdir()
        file = lake / "config.yaml"
        schemas = SCRIPTS.parent / "configs" / "schemas"
        file.write_text(
            f"source: {{url: {json.dumps(str(export.source))}}}\nwarehouse: warehouse\nschemas: {schemas}\n"
        )
        sample = measure("bench_load.py", "compact", file, *export.datasets)
        shutil.rmtree(lake)
        written = export.written
        check("load", sample.found, {"lines": written.lines, "new": written.distinct, "quarantined": 0})
        return sample

    def _row(self, name: str, export: Export | None = None) -> Row:
        row = Row(name, raw_bytes=export.written.raw_bytes if export else 0)
        self.rows.append(row)
        return row

    def _aim(self, name: str, result: str, aim: str = "", *, met: bool | None = None) -> None:
        self.rows.append(Row(name, result=result, aim=aim, met=met))


def measure(script: str, *arguments: object) -> Sample:
    """Runs one of our scripts to its end. This process is small, so its own memory never counts as the child's."""
    command = [sys.executable, "-W", "ignore", str(SCRIPTS / script), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:  # noqa: S603  (our own script)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{script} {arguments[0]} ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Sample(json.loads(printed), usage.ru_maxrss * unit)


@contextmanager
def one_core() -> Iterator[None]:
    """Limits the processes that are started inside to one core, if the system can do it."""
    if not PINNED:
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def check(name: str, found: dict[str, Any], expected: dict[str, int]) -> None:
    for fact, value in expected.items():
        if found[fact] != value:
            raise SystemExit(f"{name}: {fact} is {found[fact]}, expected {value}; no figure is valid")


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    packages = ("duckdb", "isal", "orjson", "pyarrow", "pyiceberg")
    return {
        "cores": len(os.sched_getaffinity(0)) if PINNED else os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def show(rows: list[Row], facts: dict[str, Any]) -> None:
    caption = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
    table = Table(caption=f"MB are 10^6 bytes, MB/s of uncompressed NDJSON; medians, and the highest peaks. {caption}")
    table.add_column("measured", no_wrap=True)
    for heading in ("wall s", "CPU s", "MB/s", "peak MB", "result", "aim"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for row in rows:
        table.add_row(*row.cells())
    console = Console()
    Console(width=console.width if console.is_terminal else 120).print(table)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="three times the data, more rounds")
    parser.add_argument("--only", choices=["hostile"], help="measure only this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample there")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for temporary data; default: the system's")
    arguments = parser.parse_args(argv)
    facts = machine()
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="compactor-bench-", dir=arguments.work) as folder:
        bench = Bench(Path(folder), full=arguments.full)
        bench.run_hostile() if arguments.only else bench.run()
    show(bench.rows, facts)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": facts, "rows": [row.to_json() for row in bench.rows]}, indent=2)
        )


if __name__ == "__main__":
    main()

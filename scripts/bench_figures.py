"""What the benchmarks share: running one of our scripts as a process of its own, and the table of what was found."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich.console import Console
from rich.table import Table

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
MB = 1_000_000
PINNED = hasattr(os, "sched_setaffinity")  # Linux
HEADINGS = ("measured", "wall s", "CPU s", "MB/s", "peak MB", "result", "aim", "met")


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds from its start to its end, CPU seconds, and peak resident memory in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


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
        verdict = [self.result, self.aim, {None: "", True: "yes", False: "NO"}[self.met]]
        if not self.samples:
            return [self.name, "", "", "", "", *verdict]
        cpu, rate = self.cpu_seconds, self.raw_bytes / MB / self.seconds
        return [
            self.name,
            f"{self.seconds:,.2f}",
            f"{cpu:,.2f}" if cpu is not None else "",
            f"{rate:,.0f}" if self.raw_bytes else "",
            f"{self.peak_bytes / MB:,.0f}",
            *verdict,
        ]

    def to_json(self) -> dict[str, Any]:
        facts: dict[str, Any] = {"name": self.name, "result": self.result, "aim": self.aim, "met": self.met}
        if self.samples:
            facts |= {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_bytes": self.peak_bytes}
            facts |= {"raw_bytes": self.raw_bytes, "samples": [asdict(sample) for sample in self.samples]}
        return facts


@dataclass
class Bench:
    """The rows of a benchmark, and where its parts work.

    Attributes:
        folder: for temporary data.
        full: more data and more rounds.
    """

    folder: Path
    full: bool = False
    rows: list[Row] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return 5 if self.full else 3

    def row(self, name: str, *, raw_bytes: int = 0) -> Row:
        row = Row(name, raw_bytes=raw_bytes)
        self.rows.append(row)
        return row

    def note(self, name: str, result: str, aim: str = "", *, met: bool | None = None) -> None:
        """A row without a measurement of its own: a ratio, or a reason why there is none."""
        self.rows.append(Row(name, result=result, aim=aim, met=met))


class FailedError(Exception):
    """A process ended with another exit code than 0. `log`: its standard error."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(f"exit code {code}\n{log}")
        self.code, self.log = code, log


def measure(script: str, *arguments: object) -> Sample:
    """Runs one of our scripts to its end. Its times are what it prints, so that Python's start does not count."""
    printed, usage = run([sys.executable, "-W", "ignore", str(SCRIPTS / script), *map(str, arguments)])
    return Sample(json.loads(printed), usage.peak_bytes)


def run(command: Sequence[str], *, group: Path | None = None) -> tuple[bytes, Usage]:
    """Runs a command to its end.

    Args:
        group: the control group in which the process runs (see `memory_limit`).

    Raises FailedError where it does not end with 0.
    """
    whole = os.environ | {"PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    if group:
        command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *command]
    with (
        TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=whole) as process,  # noqa: S603  our own
    ):
        assert process.stdout is not None
        with ThreadPoolExecutor(1) as pool:
            peak = pool.submit(_peak_of, process.pid)
            printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise FailedError(process.returncode, log.read().decode(errors="replace"))
    seconds = time.perf_counter() - began
    unit = 1 if sys.platform == "darwin" else 1024
    return printed, Usage(seconds, usage.ru_utime + usage.ru_stime, peak.result() or usage.ru_maxrss * unit)


def _peak_of(process: int) -> int:
    """The most memory that a process has had, in bytes, until its end. 0 where the system does not say (not Linux).

    What the system says at the end counts the memory of this process too, as it was when it started the other.
    """
    peak = 0
    status = Path(f"/proc/{process}/status")
    while status.exists():
        found = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), re.MULTILINE)
        if not found:  # it has ended, and nobody has asked how yet
            break
        peak = int(found[1]) * 1024
        time.sleep(0.01)
    return peak


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


def machine(*packages: str) -> dict[str, Any]:
    return {
        "cores": len(os.sched_getaffinity(0)) if PINNED else os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
    }


def show(headings: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
    table = Table(caption=caption)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    Console(width=console.width if console.is_terminal else 140).print(table)


def caption(facts: dict[str, Any]) -> str:
    """The machine and the versions, in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    aligned = ["---", *("---:" for _ in headings[1:])]
    lines = [headings, aligned, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines) + "\n"


def rewrite_section(page: Path, name: str, text: str) -> None:
    """Puts `text` between the two marks of a section of a page.

    Raises SystemExit where the page lacks them.
    """
    before = page.read_text(encoding="utf-8")
    marks = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    after, count = marks.subn(lambda found: f"{found[1]}{text}{found[2]}", before)
    if count != 1:
        raise SystemExit(f"{page} needs one section '{name}', found {count}")
    page.write_text(after, encoding="utf-8")


def measured_on(facts: dict[str, Any]) -> str:
    """The first lines of a section: when and on what."""
    return f"Measured on {datetime.now(UTC):%Y-%m-%d}: {caption(facts)}.\n\n"

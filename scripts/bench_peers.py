"""Compares the compactor with other ways to load the same two nights, each held against a plain model.

    python scripts/bench_peers.py                      all peers; about 15 minutes on two cores, most of it dlt's
    python scripts/bench_peers.py --quick              a tenth of the lines
    python scripts/bench_peers.py --only rival-lean    only this peer, beside the compactor (repeatable)
    python scripts/bench_peers.py --json FILE          also writes every figure, for a program
    python scripts/bench_peers.py --docs               also writes the results and the plot into docs/

A night is a process of its own, measured from its start to its end: wall seconds, CPU seconds with those of the
catalog's server, and the process' peak memory. After each night the tables are compared with what they must hold. A
peer that fails is listed with its reason. docs/performance.md describes the peers.
"""

from __future__ import annotations

import argparse
import json
import os
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

import psutil

from bench_figures import (
    MB,
    ROOT,
    SCRIPTS,
    FailedError,
    Usage,
    caption,
    machine,
    markdown,
    measured_on,
    report,
    rewrite_section,
    run,
    show,
)
from bench_loads import write_config
from bench_nights import write_nights

PEERS = SCRIPTS / "peers"
PYTHON = Path(os.environ.get("PEERS_PYTHON", ROOT / "build" / "peers" / "bin" / "python"))
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "peers.svg"
STATE = ("fan_profiles", "fan_identity_graph", "fan_profile_merges")
CURRENT = ("fan_track_events", *STATE)
ALL = (*CURRENT, *(f"{name}_history" for name in STATE))
HEADINGS = ("peer", "tables", "night", "lines", "wall s", "CPU s", "peak MB", "faults", "of these")
RATIO_HEADINGS = ("compactor / rival", "night", "wall", "CPU", "peak memory", "aim", "met")


@dataclass(frozen=True)
class Peer:
    """A way to load a night.

    Attributes:
        title: for people.
        script: in `scripts/peers`; None is the compactor itself.
        arguments: of the script, after the lake and the night. `PORT` is that of a catalog's server.
        layout: of the tables that the catalog's server makes; None: the peer needs no server.
        tables: those that it fills.
        once: it is too slow for more than one round.
    """

    title: str
    script: str | None = None
    arguments: tuple[str, ...] = ()
    layout: str | None = None
    tables: tuple[str, ...] = ALL
    once: bool = False


WITH = {
    "compactor": Peer("compactor"),
    "compactor-nosync": Peer("compactor, `tables.fsync: false`", arguments=("tables: {fsync: false}\n",)),
    "rival-lean": Peer("DuckDB MERGE INTO, lean tables", "duckdb_merge.py", ("PORT", "lean"), "lean"),
    "rival-ours": Peer("DuckDB MERGE INTO, our layout", "duckdb_merge.py", ("PORT", "ours"), "ours"),
    "append": Peer("DuckDB + PyIceberg append", "pyiceberg_tables.py", ("append",), tables=CURRENT),
    "upsert": Peer("DuckDB + PyIceberg upsert", "pyiceberg_tables.py", ("upsert",), tables=CURRENT, once=True),
    "iceberg-loader": Peer("iceberg-loader upsert", "iceberg_loader_tables.py", tables=CURRENT, once=True),
    "dlt": Peer("dlt, Iceberg destination", "dlt_tables.py", tables=CURRENT, once=True),
}
AIMS = {"rival-lean": 1.0, "rival-ours": 0.4}
"""The wall time of each night, at most, in times of the rival's."""


@dataclass
class Result:
    """What the rounds of a peer gave: of each night the usages, and the faults of the last round."""

    peer: str
    usages: dict[int, list[Usage]] = field(default_factory=lambda: {1: [], 2: []})
    faults: dict[int, dict[str, int]] = field(default_factory=dict)
    reason: str = ""

    def median(self, night: int) -> Usage:
        found = self.usages[night]
        return Usage(
            statistics.median(each.seconds for each in found),
            statistics.median(each.cpu_seconds for each in found),
            max(each.peak_bytes for each in found),
        )


def one_round(name: str, peer: Peer, folder: Path, nights: list[Path], result: Result) -> None:
    """Loads both nights into a new lake. Raises FailedError."""
    lake = folder / "lake"
    try:
        with server(peer, lake) as (port, process):
            for number, night in enumerate(nights, start=1):
                report(f"{name}: night {number}")
                before = cpu_of(process)
                usage = load(peer, lake, night, port)
                seconds = usage.cpu_seconds + cpu_of(process) - before
                result.usages[number].append(Usage(usage.seconds, seconds, usage.peak_bytes))
                result.faults[number] = faults(folder / f"expected-{number}", catalog_of(peer, lake), peer.tables)
    finally:
        shutil.rmtree(lake, ignore_errors=True)


def load(peer: Peer, lake: Path, night: Path, port: str) -> Usage:
    if peer.script is None:
        file = lake / "config.yaml"
        if not file.exists():
            write_config(lake, lake / "source", "".join(peer.arguments))
        shutil.copytree(night, lake / "source", copy_function=os.link, dirs_exist_ok=True)
        command = [sys.executable, "-m", "compactor", "-c", str(file), "compact"]
    else:
        arguments = [port if each == "PORT" else each for each in peer.arguments]
        command = [str(PYTHON), "-W", "ignore", str(PEERS / peer.script), str(lake), str(night), *arguments]
    _, usage = run(command)
    return usage


@contextmanager
def server(peer: Peer, lake: Path) -> Iterator[tuple[str, psutil.Process | None]]:
    """The REST catalog of a peer that needs one, with its tables: its port and its process."""
    if peer.layout is None:
        yield "", None
        return
    command = [str(PYTHON), str(PEERS / "rest_catalog.py"), str(lake), "all", peer.layout]
    with subprocess.Popen(  # noqa: S603  our own script
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.stdin.close()


def cpu_of(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def catalog_of(peer: Peer, lake: Path) -> Path:
    return next((lake / "warehouse").glob("*.db")) if peer.script is None else lake / "catalog.db"


def plain_model(*arguments: object) -> dict[str, Any]:
    printed, _ = run([str(PYTHON), "-W", "ignore", str(PEERS / "plain_model.py"), *map(str, arguments)])
    found: dict[str, Any] = json.loads(printed)
    return found


def faults(expected: Path, catalog: Path, tables: tuple[str, ...]) -> dict[str, int]:
    """The rows that are missing, surplus, duplicates or wrong, over all tables of a peer."""
    found = plain_model("check", expected, catalog, *tables)
    return {kind: sum(table[kind] for table in found.values()) for kind in next(iter(found.values()))}


def compare(folder: Path, chosen: list[str], *, part: int, rounds: int) -> tuple[list[Result], list[int]]:
    """All peers in turns, and the lines of each night."""
    report("generating")
    written = write_nights(folder, part)
    nights = [night for night, _ in written]
    for number in (1, 2):
        plain_model("expect", folder / f"expected-{number}", *nights[:number])
    results = {name: Result(name) for name in chosen}
    for number in range(rounds):
        for name, result in results.items():
            if result.reason or (number and WITH[name].once):
                continue
            try:
                one_round(name, WITH[name], folder, nights, result)
            except FailedError as error:
                result.reason = (error.log.strip().splitlines() or [f"exit code {error.code}"])[-1]
                report(f"{name}: {error}")
    return list(results.values()), [lines for _, lines in written]


def rows_of(results: list[Result], lines: list[int]) -> list[list[str]]:
    rows = []
    for result in results:
        peer = WITH[result.peer]
        for number in (1, 2):
            head = [peer.title, str(len(peer.tables)), str(number), f"{lines[number - 1]:,}"]
            if number not in result.faults:
                rows.append([*head, "", "", "", "", f"failed: {result.reason}"])
                continue
            usage, found = result.median(number), result.faults[number]
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in found.items() if count)
            figures = [f"{usage.seconds:,.2f}", f"{usage.cpu_seconds:,.2f}", f"{usage.peak_bytes / MB:,.0f}"]
            rows.append([*head, *figures, f"{sum(found.values()):,}", kinds])
    return rows


def ratios(results: list[Result]) -> list[list[str]]:
    """The compactor's figures over those of each peer, of the same run."""
    by_name = {each.peer: each for each in results}
    ours, rows = by_name["compactor"], []
    for name, theirs in by_name.items():
        for number in (1, 2):
            if theirs is ours or number not in theirs.faults or number not in ours.faults:
                continue
            left, right = ours.median(number), theirs.median(number)
            wall, peak = left.seconds / right.seconds, left.peak_bytes / right.peak_bytes
            aim, most = AIMS.get(name), 1.0
            met = "" if aim is None else "yes" if wall <= aim and peak <= most else "NO"
            cells = [f"{wall:.2f}", f"{left.cpu_seconds / right.cpu_seconds:.2f}", f"{peak:.2f}"]
            asked = "" if aim is None else f"wall <= {aim:.2f}, memory <= {most:.2f}"
            rows.append([WITH[name].title, str(number), *cells, asked, met])
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the lines, one round")
    parser.add_argument("--only", choices=[name for name in WITH if name != "compactor"], action="append")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    parser.add_argument("--docs", action="store_true", help="also write the results and the plot into docs/")
    parser.add_argument("--work", type=Path, metavar="DIR", help="folder for temporary data; default: the system's")
    arguments = parser.parse_args(argv)
    chosen = ["compactor", *(arguments.only or [name for name in WITH if name != "compactor"])]
    facts = machine("duckdb", "pyarrow", "pyiceberg") | plain_model("versions")
    with tempfile.TemporaryDirectory(prefix="compactor-peers-", dir=arguments.work) as folder:
        part, rounds = (10, 1) if arguments.quick else (1, 3)
        results, lines = compare(Path(folder), chosen, part=part, rounds=rounds)
    rows, against = rows_of(results, lines), ratios(results)
    show(HEADINGS, rows, caption(facts))
    show(RATIO_HEADINGS, against, "below 1: the compactor takes less")
    found = {"machine": facts, "lines": lines, "peers": [as_json(each) for each in results]}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))
    if arguments.docs:
        text = f"{measured_on(facts)}{markdown(HEADINGS, rows)}\n{markdown(RATIO_HEADINGS, against)}"
        rewrite_section(PAGE, "peers", text)
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(found, file)
            file.flush()
            run([str(PYTHON), str(PEERS / "plot.py"), file.name, str(PLOT)])


def as_json(result: Result) -> dict[str, Any]:
    peer, medians = WITH[result.peer], {number: asdict(result.median(number)) for number in result.faults}
    return {"title": peer.title, "tables": len(peer.tables), **asdict(result), "medians": medians}


if __name__ == "__main__":
    main()

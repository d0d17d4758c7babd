"""Records with py-spy what the time of a run goes into, for each of its paths.

    python scripts/bench_profile.py                 prints a table
    python scripts/bench_profile.py --docs          also writes it into docs/performance.md
    python scripts/bench_profile.py --raw FOLDER    also keeps the samples there, one stack a line, for flame graphs

A sample counts for the innermost function of ours on its stack. So a call into a library, such as a statement of
DuckDB, counts for the function that makes it. What a library does in threads without Python is not seen.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench_data import EVENTS, IDENTITIES, MERGES, PROFILES, Part, write_export
from bench_figures import (
    ROOT,
    caption,
    machine,
    markdown,
    measure,
    measured_on,
    report,
    rewrite_section,
    run,
    show,
)
from bench_loads import write_config

PY_SPY = ROOT / "build" / "peers" / "bin" / "py-spy"
PAGE = ROOT / "docs" / "performance.md"
HEADINGS = ("path", "function", "share")
RATE = 250
"""Samples a second."""
SHOWN, LEAST = 7, 0.03
"""Functions of a path in the table, and the share below which one is left out."""
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]*?)(?::\d+)?\)$")
_WAITS = re.compile(r"threading\.py|concurrent/futures/thread\.py|queue\.py")
_OTHERS = "libraries and Python alone"


def owner(stack: str) -> str | None:
    """The function of ours that a stack counts for, as `file: function`; `imports` for what is done by an import.

    None for a thread that waits for another: py-spy cannot always see that it does.
    """
    frames = stack.split(";")
    if _WAITS.search(frames[-1]):
        return None
    for frame in reversed(frames):
        found = _FRAME.match(frame)
        if found is None:
            continue
        if found["file"].startswith("<frozen importlib"):
            return "imports"
        if found["function"] == "<module>":
            continue
        _, inside, path = found["file"].rpartition("compactor/")
        if inside and path.endswith(".py"):
            return f"`{path}`: {found['function'].rpartition('.')[2]}"
    return _OTHERS


def shares(samples: Iterable[str]) -> list[tuple[str, float]]:
    """The shares of the functions in samples of py-spy's raw format, the greatest first."""
    counts: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        if name := owner(stack):
            counts[name] += int(count)
    total = counts.total()
    return [(name, count / total) for name, count in counts.most_common()]


def record(file: Path, command: list[str]) -> list[str]:
    """Runs a command under py-spy. Returns the samples, and leaves them in `file`."""
    spy = [str(PY_SPY), "record", "--format", "raw", "--rate", str(RATE), "--output", str(file), "--"]
    run([*spy, sys.executable, "-W", "ignore", *command])
    return file.read_text().splitlines()


def paths(folder: Path, raw: Path) -> dict[str, list[tuple[str, float]]]:
    """The shares by path: a first load, a merge into a large table, and a small night in a lake that exists."""
    found = {}
    report("load")
    lake, source = folder / "lake", folder / "lake" / "source"
    file = write_config(lake, source)
    write_export(source, [Part(EVENTS, 8, 50_000), Part(PROFILES, 2, 50_000)])
    compact = ["-m", "compactor", "-c", str(file), "compact"]
    found["load of 500,000 lines"] = shares(record(raw / "load.txt", compact))
    report("small night")
    write_export(source, [Part(name, 4, 50, first=960) for name in (EVENTS, PROFILES, IDENTITIES, MERGES)])
    found["night of 800 lines after it"] = shares(record(raw / "night.txt", compact))
    report("merge")
    table = folder / "table"
    for verb, *keys in (("fill",), ("night", 200_000)):
        measure("bench_merge.py", verb, table, 1_000_000, 10, *keys)
    merge = ["-m", "compactor", "-c", str(table / "config.yaml"), "compact"]
    found["200,000 keys into 1,000,000 rows"] = shares(record(raw / "merge.txt", merge))
    return found


def rows_of(found: dict[str, list[tuple[str, float]]]) -> list[list[str]]:
    rows = []
    for path, functions in found.items():
        shown = [each for each in functions[:SHOWN] if each[1] >= LEAST]
        rest = 1 - sum(share for _, share in shown)
        rows += [[path if not number else "", *row] for number, row in enumerate(_cells([*shown, ("the rest", rest)]))]
    return rows


def _cells(functions: Iterable[tuple[str, float]]) -> list[tuple[str, str]]:
    return [(name, f"{share:.0%}") for name, share in functions]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="also write the table into docs/performance.md")
    parser.add_argument("--raw", type=Path, metavar="FOLDER", help="keep the samples there")
    arguments = parser.parse_args(argv)
    facts = machine("duckdb", "pyarrow", "pyiceberg")
    with tempfile.TemporaryDirectory(prefix="compactor-profile-") as folder:
        raw = arguments.raw or Path(folder)
        raw.mkdir(parents=True, exist_ok=True)
        rows = rows_of(paths(Path(folder), raw))
    show(HEADINGS, rows, caption(facts))
    if arguments.docs:
        rewrite_section(PAGE, "profile", measured_on(facts) + markdown(HEADINGS, rows))


if __name__ == "__main__":
    main()

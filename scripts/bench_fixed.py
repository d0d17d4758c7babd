"""Part of the benchmark: what a run costs whatever it loads, and how much code decodes and merges."""

from __future__ import annotations

import shutil
import sys
import tokenize
from pathlib import Path

from bench_data import EVENTS, IDENTITIES, MERGES, PROFILES, Part, write_export
from bench_figures import ROOT, Bench, Sample, measure, report, run
from bench_loads import write_config

HELP_AIM, IDLE_AIM, LOADS_AIM = 0.15, 0.8, 3
NIGHTS = 20
ROOMS = ("decode", "merge")


def fixed(bench: Bench) -> None:
    _help(bench)
    _old_lake(bench, nights=5 * NIGHTS if bench.full else NIGHTS)
    for room in ROOMS:
        bench.note(f"lines of code in {room}/", f"{lines_of_code(ROOT / 'compactor' / room):,}")


def lines_of_code(folder: Path) -> int:
    """Lines of Python with code on them: no blank lines, comments and docstrings."""
    total = 0
    for path in folder.rglob("*.py"):
        with tokenize.open(path) as file:
            tokens = list(tokenize.generate_tokens(file.readline))
        code, starts = set[int](), True
        for token in tokens:
            if token.type in _LAYOUT:
                starts = starts or token.type == tokenize.NEWLINE
            elif token.type != tokenize.STRING or not starts:
                code.update(range(token.start[0], token.end[0] + 1))
                starts = False
        total += len(code)
    return total


_LAYOUT = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
)


def _help(bench: Bench) -> None:
    report("--help")
    row = bench.row("compactor --help")
    row.samples = [_command("--help") for _ in range(7)]
    row.aim, row.met = f"< {HELP_AIM} s", row.seconds < HELP_AIM


def _old_lake(bench: Bench, *, nights: int) -> None:
    """Runs with nothing to do, and with a small night, on a lake of so many nights."""
    lake, source = bench.folder / "old", bench.folder / "old" / "source"
    file = write_config(lake, source)
    for number in range(nights):
        report(f"an old lake: night {number + 1} of {nights}")
        _night(source, number)
        _command("-c", file, "compact")
    idle = bench.row(f"compact with nothing to do, after {nights} nights")
    small = bench.row(f"compact a night of 800 lines, after {nights} nights")
    for number in range(bench.rounds):
        idle.samples.append(_command("-c", file, "compact"))
        _night(source, nights + number)
        small.samples.append(_command("-c", file, "compact"))
    idle.aim, idle.met = f"< {IDLE_AIM} CPU s", (idle.cpu_seconds or 0) < IDLE_AIM
    _night(source, nights + bench.rounds)
    loads = measure("bench_run.py", file).found["loads"]
    most, table = max((count, table) for table, count in loads.items())
    result = f"{most} ({table}), {sum(loads.values())} in all"
    bench.note("  the most loads of one table in a run", result, f"<= {LOADS_AIM}", met=most <= LOADS_AIM)
    shutil.rmtree(lake)


def _night(source: Path, number: int) -> None:
    datasets = (EVENTS, PROFILES, IDENTITIES, MERGES)
    write_export(source, [Part(name, 4, 50, first=96 * number) for name in datasets])


def _command(*arguments: object) -> Sample:
    """One run of the command line, with Python's start."""
    _, usage = run([sys.executable, "-W", "ignore", "-m", "compactor", *map(str, arguments)])
    return Sample({"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds}, usage.peak_bytes)

"""Parts of the benchmark: merges into current state, in speed and under a limit of memory, and migrations."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from bench_figures import MB, Bench, Sample, check, measure, report, run
from memory_limit import memory_group

DAYS = 10
MERGE_ROWS, MERGE_KEYS = 1_000_000, 200_000
LARGE_ROWS, LARGE_KEYS = (5_000_000, 20_000_000), 100_000
"""The sizes of the part `memory`; the second only with `--full`."""
MIGRATED_ROWS = 5_000_000
UPSERT_AIM = 40
HASHES_AIM = 0.05
MEMORY = 1 << 30
"""What `resources.memory` allows in the part `memory`."""
LIMIT = MEMORY + (1 << 29)
"""What the system allows the process there: the setting, and 512 MiB for all that the setting does not count."""


def merges(bench: Bench) -> None:
    rows, keys, upserts = MERGE_ROWS, MERGE_KEYS, 3 if bench.full else 1
    name = f"{keys:,} keys into {rows:,} rows"
    ours = bench.row(f"merge {name}")
    hashes = bench.row("  its content hashes")
    theirs = bench.row("  the same by PyIceberg's upsert")
    for number in range(bench.rounds):
        report(f"{name}: round {number + 1} of {bench.rounds}")
        left, right = bench.folder / "merge", bench.folder / "upsert"
        measure("bench_merge.py", "fill", left, rows, DAYS)
        if number < upserts:
            measure("bench_merge.py", "fill", right, rows, DAYS)
        ours.samples.append(measure("bench_merge.py", "merge", left, rows, DAYS, keys))
        hashes.samples.append(measure("bench_merge.py", "hash", left))
        if number < upserts:
            theirs.samples.append(measure("bench_merge.py", "upsert", right, rows, DAYS, keys))
            found = measure("bench_merge.py", "compare", left, rows, DAYS, keys, right).found
            expected = {"ours": rows + keys // 2, "theirs": rows + keys // 2, "different": 0, "missing": 0}
            check(f"merge {name}", found, expected)
            shutil.rmtree(right)
        shutil.rmtree(left)
    share = (hashes.cpu_seconds or 0) / (ours.cpu_seconds or 1)
    hashes.result, hashes.aim, hashes.met = f"{share:.1%} of its CPU", f"< {HASHES_AIM:.0%}", share < HASHES_AIM
    ratio = theirs.seconds / ours.seconds
    bench.note("  times as fast as upsert", f"{ratio:.1f}", f">= {UPSERT_AIM}", met=ratio >= UPSERT_AIM)


def memory(bench: Bench) -> None:
    """A whole `compact` with `resources.memory: 1GiB`, in a control group that allows half a GiB more."""
    for rows in LARGE_ROWS if bench.full else LARGE_ROWS[:1]:
        keys = LARGE_KEYS
        name = f"compact {keys:,} keys into {rows:,} rows, 1 GiB"
        report(f"{name}: generating")
        folder = bench.folder / "memory"
        measure("bench_merge.py", "fill", folder, rows, DAYS)
        measure("bench_merge.py", "night", folder, rows, DAYS, keys)
        row = bench.row(name)
        sample, limited = limited_compact(folder, limit=LIMIT)
        check(name, sample.found, {"lines": keys, "new": keys})
        check(name, measure("bench_merge.py", "count", folder).found, {"rows": rows + keys // 2})
        row.samples.append(sample)
        row.result = "under a hard limit" if limited else "measured, no limit set"
        row.aim, row.met = f"< {LIMIT / MB:,.0f} MB", sample.peak_bytes < LIMIT
        shutil.rmtree(folder)


def limited_compact(folder: Path, *, memory: int = MEMORY, limit: int) -> tuple[Sample, bool]:
    """Runs `compact` on the lake of `bench_merge`, and says whether it had a hard limit. Raises FailedError.

    Args:
        memory: `resources.memory`, in bytes.
        limit: what the control group allows, in bytes.
    """
    file = folder / "config.yaml"
    text = file.read_text()
    file.write_text(f"{text}resources: {{memory: {memory >> 20}MiB}}\n")
    command = [sys.executable, "-m", "compactor", "-c", str(file), "compact", "--json"]
    with memory_group(limit) as group:
        printed, usage = run(command, group=group)
    dataset = json.loads(printed)["datasets"][0]
    found = {"lines": dataset["lines"], "new": dataset["new"]}
    return Sample(found | {"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds}, usage.peak_bytes), bool(group)


def migrate(bench: Bench) -> None:
    rows = MIGRATED_ROWS
    name = f"migrate {rows:,} rows"
    report(f"{name}: generating")
    folder = bench.folder / "migrate"
    measure("bench_merge.py", "fill", folder, rows, DAYS)
    for words, what in (("in place", "in-place"), ("rewritten for another type", "retype")):
        report(f"{name}: {words}")
        row = bench.row(f"{name}, {words}")
        row.samples.append(measure("bench_migrate.py", what, folder))
        found = row.samples[0].found
        check(name, found, {"rows": rows, "kept": found["files"] if what == "in-place" else 0})
        row.result = f"{found['kept']:.0f} of {found['files']:.0f} files kept"
    shutil.rmtree(folder)

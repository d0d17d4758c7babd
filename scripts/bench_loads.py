"""Parts of the benchmark: whole loads beside unpacking and parsing alone, and the scanner by itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from bench_data import EVENTS, IDENTITIES, MERGES, PROFILES, Part, Written, write_export
from bench_figures import MB, PINNED, ROOT, Bench, Row, Sample, check, measure, one_core, report

FILE_LINES, TINY_FILES = 50_000, 1440
LOAD_AIM = {"events": 1.5, "profiles": 2.0, "4 datasets": 2.0}
"""By export: the wall time of a load, at most, in times of unpacking and parsing on one core."""
PEAK_AIM = 1_200 * MB
SCAN_AIM = 600


@dataclass(frozen=True)
class Export:
    """A generated export in a folder of its own."""

    source: Path
    datasets: tuple[str, ...]
    written: Written


def loads(bench: Bench) -> None:
    times = 3 if bench.full else 1
    events, profiles = Part(EVENTS, 4 * times, FILE_LINES), Part(PROFILES, 2 * times, FILE_LINES)
    others = [Part(IDENTITIES, 2 * times, FILE_LINES), Part(MERGES, times, FILE_LINES * 2 // 5)]
    _beside_parsing(bench, "events", [events])
    _beside_parsing(bench, "profiles", [profiles])
    _beside_parsing(bench, "4 datasets", [events, profiles, *others])
    _load(
        bench,
        f"{TINY_FILES:,} files of 30 lines",
        [Part(EVENTS, TINY_FILES, 30, per_hour=60)],
        bench.rounds,
        per_file=True,
    )
    _load(bench, "one file of 50 MB", [Part(EVENTS, 1, 128 * FILE_LINES // 50)], bench.rounds)
    big = _load(bench, "2 million events", [Part(EVENTS, 40, FILE_LINES)], 3 if bench.full else 1)
    result, aim = f"{big.peak_bytes / MB:,.0f} MB", f"< {PEAK_AIM / MB:,.0f} MB"
    bench.note("  its peak memory", result, aim, met=big.peak_bytes < PEAK_AIM)


def scanner(bench: Bench) -> None:
    """The native scanner without all that comes before and after it. Its figure is by CPU time."""
    for dataset in (EVENTS, PROFILES):
        export = _export(bench, dataset, [Part(dataset, 4, FILE_LINES)])
        row = bench.row(f"{dataset}: scanner alone, one core", raw_bytes=export.written.raw_bytes)
        for _ in range(bench.rounds):
            with one_core():
                row.samples.append(measure("bench_scan.py", export.source, dataset))
        shutil.rmtree(export.source)
        found = row.samples[0].found
        if "unavailable" in found:
            bench.rows.remove(row)
            bench.note(row.name, found["unavailable"])
            continue
        check(row.name, found, {"lines": export.written.lines})
        rate, unsure = export.written.raw_bytes / MB / (row.cpu_seconds or 1), found["unsure"]
        row.result, row.aim = f"{rate:,.0f} MB per CPU s, {unsure} unsure", f">= {SCAN_AIM} MB, 0 unsure"
        row.met = rate >= SCAN_AIM and unsure == 0


def _beside_parsing(bench: Bench, name: str, parts: list[Part]) -> None:
    export = _export(bench, name, parts)
    raw = export.written.raw_bytes
    parsing = bench.row(f"{name}: unpack and parse, one core", raw_bytes=raw)
    loading = bench.row(f"{name}: load", raw_bytes=raw)
    one_core_load = bench.row(f"{name}: load, one core", raw_bytes=raw) if PINNED else None
    for number in range(bench.rounds):
        report(f"{name}: round {number + 1} of {bench.rounds}")
        with one_core():
            parsing.samples.append(measure("bench_load.py", "parse", export.source, *export.datasets))
            if one_core_load:
                one_core_load.samples.append(_compact(bench, export))
        loading.samples.append(_compact(bench, export))
    ratio, aim = loading.seconds / parsing.seconds, LOAD_AIM[name]
    bench.note(f"{name}: load / parse", f"{ratio:.2f}", f"<= {aim:.2f}", met=ratio <= aim)
    if one_core_load:
        bench.note(f"{name}: load / parse, both one core", f"{one_core_load.seconds / parsing.seconds:.2f}")
    shutil.rmtree(export.source)


def _load(bench: Bench, name: str, parts: list[Part], rounds: int, *, per_file: bool = False) -> Row:
    export = _export(bench, name, parts)
    row = bench.row(f"load {name}", raw_bytes=export.written.raw_bytes)
    for number in range(rounds):
        report(f"{name}: round {number + 1} of {rounds}")
        row.samples.append(_compact(bench, export))
    if per_file:
        row.result = f"{export.written.files / row.seconds:,.0f} files/s"
    shutil.rmtree(export.source)
    return row


def _export(bench: Bench, name: str, parts: list[Part]) -> Export:
    report(f"{name}: generating")
    source = bench.folder / "source"
    return Export(source, tuple(part.dataset for part in parts), write_export(source, parts))


def _compact(bench: Bench, export: Export) -> Sample:
    lake = bench.folder / "lake"
    file = write_config(lake, export.source)
    sample = measure("bench_load.py", "compact", file, *export.datasets)
    shutil.rmtree(lake)
    written = export.written
    check("load", sample.found, {"lines": written.lines, "new": written.distinct, "quarantined": 0})
    return sample


def write_config(lake: Path, source: Path, settings: str = "") -> Path:
    """The config of a new lake in this folder, with the registry of this project."""
    lake.mkdir(parents=True)
    file = lake / "config.yaml"
    schemas = ROOT / "configs" / "schemas"
    file.write_text(
        f"source: {{url: {json.dumps(str(source))}}}\nwarehouse: warehouse\n"
        f"schemas: {json.dumps(str(schemas))}\n{settings}"
    )
    return file

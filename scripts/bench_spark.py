"""Measures the local engine against Spark on the same machine: the figures of `docs/scale.md`.

    python scripts/bench_spark.py                 200,000 keys into 1 million rows, then growth; about 25 minutes
    python scripts/bench_spark.py --quick         a tenth of the rows
    python scripts/bench_spark.py --only merge    one of the three tables: merge, growth, nights
    python scripts/bench_spark.py --json FILE     also writes every figure, for a program

Needs what `make engines` fetches. A merge is that of a nightly batch into the current table: half of its keys are new,
and they are spread over 10 days. `plain` is a bare `MERGE INTO` of the same rows into the same table, with Spark's own
settings and no rule on which row wins. A night is a whole `compact` of events into a history of so many rows.

Each engine has a process and a lake of its own, and runs three times. The first run is cold, and shown apart. Start-up
is not included. Memory is that of the process and all its children. Bytes are those of all their reads and writes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from pyiceberg.table.snapshots import Snapshot
from rich.console import Console
from rich.table import Table as Printed

from bench_data import EVENTS, Part, write_export
from bench_merge import DATASET, Lake
from compactor import config
from compactor.commands.compact import compact
from compactor.engines import choice, local
from compactor.engines.base import Engine
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import Table
from compactor.progress import NullProgress
from compactor.publish import protocol
from compactor.registry import loader
from compactor.source import Hour
from fetch_engines import jars, java_home

SCRIPTS = Path(__file__).resolve().parent
DAYS, ROUNDS, FIRST_HOUR = 10, 3, 12
ENGINES = ("local", "spark", "plain")
MERGE = [(1_000_000, 200_000)]
GROWTH = [(250_000, 20_000), (1_000_000, 20_000), (4_000_000, 20_000), (4_000_000, 400_000)]
NIGHTS = [(500_000, 50_000), (4_000_000, 50_000), (500_000, 500_000)]
FILE_LINES = 50_000
MEMORY = "resources: {memory: 4GiB}\n"  # the first fill is one batch of all rows
MB = 1e6


@dataclass(frozen=True)
class Figures:
    """The figures of one merge: seconds, and bytes."""

    seconds: float
    read: int
    written: int
    peak: int


class Meter:
    """Measures this process and all its children. `peak`: the greatest sum of their resident memory, in bytes."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, sum(_each(lambda process: process.memory_info().rss)))

    def measure(self, step: Callable[[], object]) -> Figures:
        self.peak = 0
        before, began = self._bytes(), time.perf_counter()
        step()
        seconds, after = time.perf_counter() - began, self._bytes()
        return Figures(seconds, after[0] - before[0], after[1] - before[1], self.peak)

    @staticmethod
    def _bytes() -> tuple[int, int]:
        counters = _each(lambda process: process.io_counters())
        return sum(each.read_chars for each in counters), sum(each.write_chars for each in counters)


def _each(ask: Callable[[psutil.Process], Any]) -> list[Any]:
    me = psutil.Process()
    answers = []
    for process in (me, *me.children(recursive=True)):
        try:
            answers.append(ask(process))
        except psutil.NoSuchProcess:
            continue
    return answers


def merge_batches(name: str, folder: str, rows: int, keys: int) -> list[Figures]:
    """Merges `ROUNDS` batches of `keys` keys into a table of `rows` rows, with one engine."""
    lake = Lake(folder, settings=f"{MEMORY}spark: {{settings: {os.environ['BENCH_SPARK_SETTINGS']}}}")
    lake.merge(lake.append(lake.incoming(0, rows, DAYS, hour=0)))
    meter, found = Meter(), []
    with _merging(name, lake) as merge:
        for number in range(ROUNDS):
            incoming = lake.incoming(rows + (number - 1) * keys // 2, keys, DAYS, hour=FIRST_HOUR + number)
            found.append(merge(meter, lake.append(incoming)))
    expected = rows + ROUNDS * keys // 2
    merged = lake.tables.load_iceberg(DATASET).scan().count()
    if merged != expected:
        raise SystemExit(f"{name}: {merged} rows, expected {expected}")
    return found


def load_nights(name: str, folder: str, rows: int, keys: int) -> list[Figures]:
    """Loads `ROUNDS` nights of `keys` events into a history of `rows` rows, with one engine. One file per hour."""
    root = Path(folder)
    per_file = min(FILE_LINES, keys)
    source = root / "source"
    write_export(source, [Part(EVENTS, (rows + ROUNDS * keys) // per_file, per_file, per_hour=1)])
    file = root / "config.yaml"
    schemas = SCRIPTS.parent / "configs" / "schemas"
    settings = f"spark: {{settings: {os.environ['BENCH_SPARK_SETTINGS']}}}"
    file.write_text(f"source: {{url: source}}\nwarehouse: warehouse\nschemas: {schemas}\n{settings}\n")
    settings_of, known = config.load(file), loader.load(schemas)
    hours = sorted(
        {hour for path in source.rglob("*.gz") if (hour := Hour.of_key(path.relative_to(source).as_posix()))}
    )

    def load(count: int, engine: str) -> None:
        first, last = hours[0], hours[count - 1]
        del hours[:count]
        report = compact(
            settings_of,
            known,
            datasets=(EVENTS,),
            start=first,
            stop=last,
            engine=engine,  # type: ignore[arg-type]
            progress=NullProgress(),
        )
        if report.datasets[0].lines != count * per_file:
            raise SystemExit(f"{name}: {report.datasets[0].lines} lines, expected {count * per_file}")

    load(rows // per_file, "local")
    meter = Meter()
    lake = Lakehouse(settings_of)
    with choice.opened(settings_of, name) as (open_batch, _):  # type: ignore[arg-type]
        with open_batch(lake, lake.at_table_version(known.get(EVENTS))):
            pass  # starts Spark; the runs use its session
        return [meter.measure(lambda: load(keys // per_file, name)) for _ in range(ROUNDS)]


Merge = Callable[[Meter, Snapshot], Figures]


@contextmanager
def _merging(name: str, lake: Lake) -> Iterator[Merge]:
    if name == "local":
        yield lambda meter, snapshot: _by_engine(lake, local.open_batch, meter, snapshot)
        return
    from compactor.engines.spark import SparkEngine  # noqa: PLC0415  the local engine is measured without it

    with SparkEngine(lake.config) as spark:
        if name == "spark":
            yield lambda meter, snapshot: _by_engine(lake, spark.open_batch, meter, snapshot)
        else:
            yield lambda meter, snapshot: _by_plain(spark, lake, meter, snapshot)


def _by_engine(lake: Lake, open_batch: Engine, meter: Meter, snapshot: Snapshot) -> Figures:
    """The merge as an engine does it."""
    with lake.adopted(open_batch, snapshot) as (batch, fresh):
        return meter.measure(lambda: lake.publish(batch, fresh))


def _by_plain(spark: Any, lake: Lake, meter: Meter, snapshot: Snapshot) -> Figures:
    from compactor.engines.spark.clone import cloned  # noqa: PLC0415  see above

    current: Table = lake.tables.table(DATASET)
    with lake.adopted(spark.open_batch, snapshot) as (_, fresh), cloned(fresh.sparkSession, current) as clone:
        session = fresh.sparkSession
        fresh.createOrReplaceTempView("incoming")
        ours = "'write.merge.distribution-mode', 'write.parquet.bloom-filter-max-bytes'"
        session.sql(f"ALTER TABLE {clone.name} UNSET TBLPROPERTIES ({ours})")
        statement = (
            f"MERGE INTO {clone.name} t USING incoming s ON t.rover_id = s.rover_id"
            " WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )
        figures = meter.measure(lambda: session.sql(statement))
        protocol.commit(current, clone.change(), {}, uuid.uuid4().hex)
    return figures


def in_process(kind: str, name: str, rows: int, keys: int) -> list[Figures]:
    with tempfile.TemporaryDirectory(prefix="bench-spark-") as folder:
        settings = {
            "spark.jars": ",".join(map(str, jars("3.5"))),
            "spark.master": "local[2]",
            "spark.driver.memory": "6g",
            **({} if name == "plain" else {"spark.sql.shuffle.partitions": "4"}),
        }
        environment = {
            **os.environ,
            "JAVA_HOME": str(java_home("spark")),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "BENCH_SPARK_SETTINGS": json.dumps(settings),
        }
        command = [sys.executable, __file__, "--one", kind, name, folder, str(rows), str(keys)]
        run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  itself
        if run.returncode:
            raise SystemExit(run.returncode)
        return [Figures(**each) for each in json.loads(run.stdout.splitlines()[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows")
    parser.add_argument("--json", metavar="FILE", help="also write every figure to this file")
    parser.add_argument("--only", choices=["merge", "growth", "nights"], help="one of the tables")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, name, folder, rows, keys = arguments.one
        step = load_nights if kind == "nights" else merge_batches
        print(json.dumps([figures.__dict__ for figures in step(name, folder, int(rows), int(keys))]))
        sys.stdout.flush()
        os._exit(0)
    part = 10 if arguments.quick else 1
    found: dict[str, Any] = {}
    console = Console(width=110)
    for kind, title, sizes, names in (
        ("merge", "A nightly merge", MERGE, ENGINES),
        ("growth", "Growth of a merge", GROWTH, ENGINES[:2]),
        ("nights", "Growth of a night of events", NIGHTS, ENGINES[:2]),
    ):
        if arguments.only not in (None, kind):
            continue
        printed = Printed(
            "rows", "keys", "engine", "first s", "then s", "read MB", "written MB", "peak MB", title=title
        )
        for rows, keys in sizes:
            for name in names:
                first, *rest = in_process(kind, name, rows // part, keys // part)
                then = statistics.median(each.seconds for each in rest)
                read, written = (
                    statistics.median(getattr(each, what) for each in rest) for what in ("read", "written")
                )
                peak = max(each.peak for each in (first, *rest))
                found[f"{kind} {rows // part} {keys // part} {name}"] = [each.__dict__ for each in (first, *rest)]
                cells = [f"{read / MB:,.0f}", f"{written / MB:,.0f}", f"{peak / MB:,.0f}"]
                printed.add_row(
                    f"{rows // part:,}", f"{keys // part:,}", name, f"{first.seconds:.1f}", f"{then:.1f}", *cells
                )
        console.print(printed)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

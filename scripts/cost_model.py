"""Estimates the cost of a month on AWS from measured figures: the last table of docs/scale.md.

    python scripts/cost_model.py

This is a model, not a bill. Below are, in this order, the measured figures, the assumptions, and the prices of AWS.
Change a line and run it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

# Measured on 2 cores: seconds for a million (docs/scale.md has the runs).
LOAD = 10.0  # lines read, decoded, sorted, written to the history
REWRITE = 1.4  # rows of current state that a merge rewrites
LOOK_UP = 0.14  # records of the history whose id a batch reads
SPARK_FACTOR = 3.2  # Spark's time for the same work on as many cores, divided by ours
SPARK_START = 120.0  # seconds until a cluster has its executors and is warm; not measured
EVENT_BYTES, STATE_BYTES, LINE_BYTES = 53, 79, 68  # a row in Parquet, a row in Parquet, a gzipped line

# Assumed: records of events and of states, per fan and day; identifiers of a fan; days of history.
EVENTS, CHANGES, IDENTIFIERS, DAYS = 0.5, 0.06, 2, 730
# Bytes of a table with its older snapshots, divided by those of the table alone.
SNAPSHOTS = 2
# Compressed bytes of one commit (`batch.bytes`, `spark.batch.bytes`): the first asks for 6 GB of `resources.memory`.
LOCAL_BATCH, SPARK_BATCH = 256e6, 16e9
# Hours: the longest night of one machine, and the night for which Spark gets enough cores.
LONGEST_NIGHT, SPARK_NIGHT = 12.0, 2.0

# Dollars in us-east-1, as of November 2026. Check them before you rely on them.
FARGATE_CORE, FARGATE_GB, FARGATE_CORES, FARGATE_MEMORY = 0.04048, 0.004445, 2, 8
EMR_CORE, EMR_GB, EMR_GB_OF_CORE = 0.052624, 0.0057785, 4
S3_GB_MONTH, S3_PUT, S3_GET = 0.023, 5e-6, 4e-7
PUTS, GETS = 4_000, 40_000  # per night, of any size: 4 datasets, one file per minute, day partitions of two years


@dataclass(frozen=True)
class Month:
    """Thirty nights, and a month of storage. `hours`: of one night. `compute`: dollars; None if a night is too long."""

    fans: float
    engine: str
    cores: int
    hours: float
    compute: float | None
    rest: float

    def cells(self) -> list[str]:
        hours = f"{self.hours:,.2f}" if self.hours < 1 else f"{self.hours:,.1f}"
        cells = [f"{self.fans / 1e6:,.0f} million", self.engine, f"{self.cores:,}", hours]
        if self.compute is None:
            return [*cells, "too long", "", ""]
        return [*cells, f"{self.compute:,.0f}", f"{self.rest:,.0f}", f"{self.compute + self.rest:,.0f}"]


def months(fans: float) -> Iterator[Month]:
    """Yields the month for each engine."""
    events, states = fans * EVENTS, fans * CHANGES
    history = DAYS * (events * EVENT_BYTES + states * STATE_BYTES)
    current = fans * (1 + IDENTIFIERS) * STATE_BYTES
    stored = (history + current * SNAPSHOTS) / 1e9 * S3_GB_MONTH
    rest = stored + 30 * (PUTS * S3_PUT + GETS * S3_GET)

    def seconds(batch: float) -> float:
        batches_of_events, batches_of_states = (math.ceil(lines * LINE_BYTES / batch) for lines in (events, states))
        looked_up = DAYS * (batches_of_events * events + batches_of_states * states)
        rewritten = batches_of_states * fans * (1 + IDENTIFIERS)
        return (LOAD * (events + states) + LOOK_UP * looked_up + REWRITE * rewritten) / 1e6

    hours = seconds(LOCAL_BATCH) / 3600
    price = FARGATE_CORES * FARGATE_CORE + FARGATE_MEMORY * FARGATE_GB
    yield Month(fans, "local", FARGATE_CORES, hours, 30 * hours * price if hours <= LONGEST_NIGHT else None, rest)
    work = seconds(SPARK_BATCH) * SPARK_FACTOR * FARGATE_CORES / 3600  # hours of one core
    cores = max(8, 1 << math.ceil(math.log2(work / SPARK_NIGHT)) if work > SPARK_NIGHT else 0)
    hours = work / cores + SPARK_START / 3600
    yield Month(fans, "spark", cores, hours, 30 * hours * cores * (EMR_CORE + EMR_GB_OF_CORE * EMR_GB), rest)


def table() -> list[str]:
    """The table in Markdown."""
    lines = [
        "| fans | engine | cores | hours a night | compute, $ a month | storage and requests, $ | together, $ |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for millions in (1, 10, 100, 1_000):
        lines += [f"| {' | '.join(month.cells())} |" for month in months(millions * 1e6)]
    return lines


if __name__ == "__main__":
    print("\n".join(table()))

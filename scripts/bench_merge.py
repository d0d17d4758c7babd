"""Merges keys into a table of current state, as the compactor and as PyIceberg do it: one process of a benchmark each.

    python scripts/bench_merge.py fill FOLDER ROWS DAYS                  a lake in FOLDER with a table of ROWS rows
    python scripts/bench_merge.py merge FOLDER ROWS DAYS KEYS            KEYS rows, half of them new, by our merge
    python scripts/bench_merge.py hash FOLDER                            hashes the table's data files, as a writer does
    python scripts/bench_merge.py upsert FOLDER ROWS DAYS KEYS           the same rows by PyIceberg's Table.upsert
    python scripts/bench_merge.py compare FOLDER ROWS DAYS KEYS OTHER    rows of both lakes, and how many differ
    python scripts/bench_merge.py count FOLDER                           the rows of the table
    python scripts/bench_merge.py night FOLDER ROWS DAYS KEYS            an export with the rows of `merge`

Prints one JSON object. Our merge gets its rows from a snapshot of the history, as a run does that finishes a batch of
another. They are at hand before the clock starts. Loading the table counts.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.table.snapshots import Snapshot

import compactor
from compactor import config
from compactor.engines import local
from compactor.engines.base import Batch, Engine
from compactor.lake import content
from compactor.lake.catalog import Lakehouse
from compactor.publish import protocol
from compactor.registry import loader
from compactor.registry.dataset import Dataset

DATASET = "bench_state"
CHUNK = 1_000_000
"""Rows of a batch that fills a table."""
_REGISTRY = f"""\
dataset: {DATASET}
kind: state
key: [rover_id]
order: updated_at
tables:
  current: {{partition: day(updated_at), sort: [rover_id]}}
versions:
  1:
    fields:
      id: {{type: string, required: true}}
      version: {{type: long, required: true}}
      roverID: {{type: string, required: true}}
      emittedAt: {{type: timestamp, required: true}}
      updatedAt: {{type: timestamp, required: true}}
      tier: string
      visits: long
      spend: double
"""


class Lake:
    """A lake of the one dataset below `folder`.

    Args:
        changes: versions of its registry beyond the first, in YAML.
        settings: of its config, in YAML.
    """

    def __init__(self, folder: str, changes: str = "", *, settings: str = "") -> None:
        root = Path(folder)
        (root / "schemas").mkdir(parents=True, exist_ok=True)
        (root / "schemas" / f"{DATASET}.yaml").write_text(_REGISTRY + changes)
        file = root / "config.yaml"
        file.write_text(f"source: {{url: source}}\nwarehouse: warehouse\nschemas: schemas\n{settings}")
        self.config = config.load(file)
        self.registry = loader.load(self.config.schemas)
        self.dataset: Dataset = self.registry.get(DATASET)
        self.tables = Lakehouse(self.config)
        self.tables.ensure(self.registry, [DATASET])

    def incoming(self, first: int, count: int, days: int, *, hour: int) -> str:
        """SQL for the rows of `count` keys from `first` on. The day of a key never changes, so the partitions stay."""
        time_ = f"TIMESTAMP '2026-11-01' + to_days((n % {days})::INTEGER) + to_seconds({3600 * hour} + n % 36000)"
        values = {
            "id": f"md5('record ' || n || ' at {hour}')",
            "version": "1::BIGINT",
            "rover_id": "md5('fan ' || n)",
            "emitted_at": time_,
            "updated_at": time_,
            "tier": "['bronze', 'silver', 'gold', 'platinum'][1 + n % 4]",
            "visits": f"(n * 7 + {hour}) % 1000",
            "spend": f"(n % 100000) / 100 + {hour}",
            "extra": "MAP {}::MAP(VARCHAR, VARCHAR)",
            "source_file": "'exports/bench_state/file-' || n // 50000",
            "source_line": "1 + n % 50000",
        }
        columns = [name for name, _, _ in self.dataset.table_columns]
        listed = ", ".join(f"{values[name]} AS {name}" for name in columns)
        return f"SELECT {listed} FROM range({first}, {first + count}) AS r(n)"

    def append(self, rows: str) -> Snapshot:
        """Appends rows to the history, as a batch has done when its current table follows."""
        table = self.tables.load_iceberg(self.dataset.history_table)
        table.append(self._arrow(rows, table.schema().as_arrow()))
        snapshot = table.current_snapshot()
        assert snapshot is not None
        return snapshot

    def merge(self, snapshot: Snapshot) -> dict[str, float]:
        """Merges what a snapshot added to the history into the current table. Returns the seconds."""
        with self.adopted(local.open_batch, snapshot) as (batch, fresh):
            return timed(lambda: self.publish(batch, fresh))

    @contextmanager
    def adopted(self, open_batch: Engine, snapshot: Snapshot) -> Iterator[tuple[Batch[Any], Any]]:
        """A batch of an engine, and the rows that a snapshot added to the history."""
        with open_batch(self.tables, self.dataset) as batch:
            yield batch, batch.adopt_snapshot(self.tables.table(self.dataset.history_table), snapshot)

    def publish(self, batch: Batch[Any], fresh: Any) -> None:
        """Brings the current table up to rows that the history has."""
        current = self.tables.table(DATASET)
        change = batch.current_change(fresh, current, lambda: self.tables.table(self.dataset.history_table))
        assert change is not None
        protocol.commit(current, change, {}, uuid.uuid4().hex)

    def upsert(self, rows: str) -> dict[str, float]:
        arrow = self._arrow(rows, self.tables.load_iceberg(DATASET).schema().as_arrow())
        key = list(self.dataset.key)
        return timed(lambda: self.tables.load_iceberg(DATASET).upsert(arrow, join_cols=key))

    def _arrow(self, rows: str, schema: pa.Schema) -> pa.Table:
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            return con.execute(rows).to_arrow_table().cast(schema)


def fill(folder: str, rows: int, days: int) -> dict[str, float]:
    lake, seconds = Lake(folder), 0.0
    (Path(folder) / "source" / "exports").mkdir(parents=True)
    # Tables with rows in a lake that never had a run would look like those of a lost one.
    compactor.open(lake.config.path).compact(allow_empty_source=True)
    for first in range(0, rows, CHUNK):
        snapshot = lake.append(lake.incoming(first, min(CHUNK, rows - first), days, hour=0))
        seconds += lake.merge(snapshot)["seconds"]
    return {"seconds": seconds}


def merge(folder: str, rows: int, days: int, keys: int) -> dict[str, float]:
    lake = Lake(folder)
    return lake.merge(lake.append(lake.incoming(rows - keys // 2, keys, days, hour=12)))


def hash_files(folder: str) -> dict[str, float]:
    table = Lake(folder).tables.table(DATASET)

    def step() -> None:
        for file in table.files:
            with table.open(file.file_path) as stream:
                content.hash_of(stream)

    return timed(step)


def upsert(folder: str, rows: int, days: int, keys: int) -> dict[str, float]:
    lake = Lake(folder)
    return lake.upsert(lake.incoming(rows - keys // 2, keys, days, hour=12))


def compare(folder: str, rows: int, days: int, keys: int, other: str) -> dict[str, int]:
    """Counts rows of both tables, rows in which they differ, and incoming rows that are missing from the first."""
    lake = Lake(folder)
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        for name, source in (("ours", lake), ("theirs", Lake(other))):
            batches = source.tables.load_iceberg(DATASET).scan().to_arrow_batch_reader()
            con.register("batches", batches)
            con.execute(f"CREATE TABLE {name} AS SELECT * FROM batches")
            con.unregister("batches")
        con.execute(f"CREATE TABLE fresh AS {lake.incoming(rows - keys // 2, keys, days, hour=12)}")
        return {
            "ours": _count(con, "FROM ours"),
            "theirs": _count(con, "FROM theirs"),
            "different": _count(con, "(FROM ours EXCEPT ALL FROM theirs) UNION ALL (FROM theirs EXCEPT ALL FROM ours)"),
            "missing": _count(con, "SELECT id, rover_id FROM fresh EXCEPT ALL SELECT id, rover_id FROM ours"),
        }


def count(folder: str) -> dict[str, int]:
    return {"rows": Lake(folder).tables.load_iceberg(DATASET).scan().count()}


def night(folder: str, rows: int, days: int, keys: int) -> dict[str, int]:
    """Writes the rows as an object of the lake's source, for a run of the program."""
    lake = Lake(folder)
    hour = Path(folder) / "source" / "exports" / DATASET / "date=2026-11-20" / "hour=05"
    hour.mkdir(parents=True)
    columns = ", ".join(f'{_as_json(field.column)} AS "{field.json}"' for field in lake.dataset.newest.fields)
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT {columns} FROM ({lake.incoming(rows - keys // 2, keys, days, hour=12)}))"
            f" TO '{hour}/{DATASET}-20261120T050000Z-part-a.ndjson.gz' (FORMAT json, COMPRESSION gzip)"
        )
    return {"lines": keys}


def _as_json(column: str) -> str:
    return f"strftime({column}, '%Y-%m-%dT%H:%M:%SZ')" if column.endswith("_at") else column


def timed(step: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def _count(con: duckdb.DuckDBPyConnection, rows: str) -> int:
    found = con.execute(f"SELECT count(*) FROM ({rows})").fetchone()
    assert found is not None
    return int(found[0])


def main(verb: str, folder: str, *arguments: str) -> None:
    steps: dict[str, Callable[..., object]] = {
        "fill": fill,
        "merge": merge,
        "hash": hash_files,
        "upsert": upsert,
        "compare": compare,
        "count": count,
        "night": night,
    }
    values = [int(argument) if argument.isdigit() else argument for argument in arguments]
    print(json.dumps(steps[verb](folder, *values)), flush=True)
    os._exit(0)  # as the command line does, see `cli.exit`


if __name__ == "__main__":
    main(*sys.argv[1:])

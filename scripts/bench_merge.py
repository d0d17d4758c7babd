"""Merges keys into a table of current state, as the compactor and as PyIceberg do it: one process of a benchmark each.

    python scripts/bench_merge.py fill FOLDER ROWS DAYS                  a lake in FOLDER with a table of ROWS rows
    python scripts/bench_merge.py merge FOLDER ROWS DAYS KEYS            KEYS rows, half of them new, by our merge
    python scripts/bench_merge.py hash FOLDER                            hashes the table's data files, as a writer does
    python scripts/bench_merge.py upsert FOLDER ROWS DAYS KEYS           the same rows by PyIceberg's Table.upsert
    python scripts/bench_merge.py compare FOLDER ROWS DAYS KEYS OTHER    rows of both lakes, and how many differ

Prints one JSON object. The incoming rows are in memory before the clock starts. Loading the table counts.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from compactor import config
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.engines.local import LocalBatch
from compactor.lake import content
from compactor.lake.catalog import Lakehouse
from compactor.lake.parquet import arrow_schema
from compactor.merge.columns import record_columns
from compactor.publish.accounting import Entries
from compactor.publish.intent import CommitIntent
from compactor.publish.protocol import merge_current
from compactor.registry import loader
from compactor.registry.dataset import Dataset

DATASET = "bench_state"
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
        listed = ", ".join(f"{values[name]} AS {name}" for name in record_columns(self.dataset))
        return f"SELECT {listed} FROM range({first}, {first + count}) AS r(n)"

    def merge(self, rows: str) -> dict[str, float]:
        """Merges rows into the current table as the publishing of a batch does. Returns the seconds."""
        with session.session(self.config.resources) as con, Relations(con) as relations:
            batch = LocalBatch(self.tables, relations, self.dataset)
            fresh, intent = relations.table("fresh", rows), unfinished(self.tables, relations)
            return timed(lambda: merge_current(self.tables, batch, self.dataset, fresh, intent))

    def upsert(self, rows: str) -> dict[str, float]:
        schema = arrow_schema(self.tables.load_iceberg(DATASET).schema())
        with duckdb.connect() as con:
            arrow = con.execute(rows).to_arrow_table().cast(schema)
        key = list(self.dataset.key)
        return timed(lambda: self.tables.load_iceberg(DATASET).upsert(arrow, join_cols=key))

    def rows(self) -> pa.RecordBatchReader:
        return self.tables.table(DATASET).scan(record_columns(self.dataset)).batches


def unfinished(tables: Lakehouse, relations: Relations) -> CommitIntent:
    """The intent of a batch: as long as it exists, the batch has to be merged."""
    one = relations.table("entries", "SELECT 1 AS n")
    intent = CommitIntent.new(tables, "bench", mode="keep")
    intent.write(relations.con, Entries(one, one))
    return intent


def fill(folder: str, rows: int, days: int) -> dict[str, float]:
    lake = Lake(folder)
    return lake.merge(lake.incoming(0, rows, days, hour=0))


def merge(folder: str, rows: int, days: int, keys: int) -> dict[str, float]:
    lake = Lake(folder)
    return lake.merge(lake.incoming(rows - keys // 2, keys, days, hour=12))


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
    with session.session(lake.config.resources) as con:
        for name, source in (("ours", lake), ("theirs", Lake(other))):
            con.register("batches", source.rows())
            con.execute(f"CREATE TABLE {name} AS SELECT * FROM batches")
            con.unregister("batches")
        con.execute(f"CREATE TABLE fresh AS {lake.incoming(rows - keys // 2, keys, days, hour=12)}")
        return {
            "ours": _count(con, "FROM ours"),
            "theirs": _count(con, "FROM theirs"),
            "different": _count(con, "(FROM ours EXCEPT ALL FROM theirs) UNION ALL (FROM theirs EXCEPT ALL FROM ours)"),
            "missing": _count(con, "SELECT id, rover_id FROM fresh EXCEPT ALL SELECT id, rover_id FROM ours"),
        }


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
    }
    values = [int(argument) if argument.isdigit() else argument for argument in arguments]
    print(json.dumps(steps[verb](folder, *values)), flush=True)
    os._exit(0)  # as the command line does, see `cli.exit`


if __name__ == "__main__":
    main(*sys.argv[1:])

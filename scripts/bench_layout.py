"""Measures ways to lay out the tables' Parquet files: CPU to write, size, and three queries by DuckDB.

    python scripts/bench_layout.py                 prints a table
    python scripts/bench_layout.py --lines 1000000 of so many events, which is slower and steadier

The rows are those of a load of events (`bench_data`), as the program's own scan gives them. The first way is what the
program writes (`compactor.lake.parquet`); docs/performance.md says why. CPU is of the whole process, the
best of some rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import parquet_path_to_id_mapping

SCRIPTS = Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS.parent))

from bench_data import EVENTS, Part, write_export  # noqa: E402
from compactor import config  # noqa: E402
from compactor.commands.compact import compact  # noqa: E402
from compactor.lake.catalog import Lakehouse, bloom  # noqa: E402
from compactor.lake.data_writer import ROW_GROUP_ROWS  # noqa: E402
from compactor.lake.parquet import COMPRESSION_LEVEL, dictionary_paths  # noqa: E402
from compactor.progress import NullProgress  # noqa: E402
from compactor.registry import loader  # noqa: E402

_ROUNDS = 5


@dataclass(frozen=True)
class Way:
    """A way to write.

    Attributes:
        dictionary: the leaves with a dictionary.
        other: encodings of other leaves. The rest is plain.
        level: of zstd.
        rows: of a row group.
        bloom: look-ups have bloom filters.
    """

    name: str
    dictionary: Sequence[str]
    other: Mapping[str, str] = field(default_factory=dict)
    level: int = COMPRESSION_LEVEL
    rows: int = ROW_GROUP_ROWS
    bloom: bool = True


@dataclass(frozen=True)
class Layout:
    """What a way costs. Seconds are of CPU; `queries`: one fan by key, the last week by event, one trait of all."""

    name: str
    write_seconds: float
    megabytes: float
    queries: tuple[float, float, float]


def layout_rows(lines: int = 400_000, report: Callable[[str], None] = lambda _: None) -> Iterator[Layout]:
    """Measures each way on the same rows."""
    with tempfile.TemporaryDirectory(prefix="compactor-bench-layout-") as name:
        folder = Path(name)
        report("loading")
        rows, paths, keys = _rows(folder, lines)
        for way in _ways(paths, keys, rows.schema):
            report(way.name)
            yield _measured(folder / "file.parquet", rows, way, keys)


def _rows(folder: Path, lines: int) -> tuple[pa.Table, Sequence[str], Sequence[str]]:
    """The loaded rows in the order of the key, as a day's file has them; the leaves of the columns; the look-ups."""
    write_export(folder / "source", [Part(EVENTS, 8, lines // 8)])
    file = folder / "config.yaml"
    schemas = SCRIPTS.parent / "configs" / "schemas"
    file.write_text(f"source: {{url: source}}\nwarehouse: lake\nschemas: {json.dumps(str(schemas))}\n")
    settings = config.load(file)
    registry = loader.load(settings.schemas)
    compact(settings, registry, datasets=(EVENTS,), progress=NullProgress())
    table, dataset = Lakehouse(settings).table(EVENTS), registry.get(EVENTS)
    rows = table.scan(table.schema.names).batches.read_all()
    rows = rows.sort_by([(column, "ascending") for column in table.sort_columns]).combine_chunks()
    return rows, list(parquet_path_to_id_mapping(table.iceberg_schema)), bloom(dataset)


def _ways(paths: Sequence[str], keys: Sequence[str], schema: pa.Schema) -> list[Way]:
    ours = dictionary_paths(paths, schema, keys)
    numbers = [each.name for each in schema if pa.types.is_integer(each.type) or pa.types.is_timestamp(each.type)]
    delta = dict.fromkeys(numbers, "DELTA_BINARY_PACKED")
    return [
        Way("as it is", ours),
        Way("zstd 3", ours, level=3),
        Way("row groups of 50,000", ours, rows=50_000),
        Way("row groups of 400,000", ours, rows=400_000),
        Way("without bloom filters", ours, bloom=False),
        Way("dictionaries everywhere", paths),
        Way("dictionaries everywhere, zstd 3", paths, level=3),
        Way("delta for numbers and times", ours, delta),
        Way("the same, and for ids", ours, delta | dict.fromkeys(keys, "DELTA_BYTE_ARRAY")),
    ]


def _measured(path: Path, rows: pa.Table, way: Way, keys: Sequence[str]) -> Layout:
    def write() -> None:
        with pq.ParquetWriter(
            path,
            rows.schema,
            compression="zstd",
            compression_level=way.level,
            use_dictionary=list(way.dictionary),
            column_encoding=dict(way.other) or None,
            bloom_filter_options={key: {"ndv": way.rows, "fpp": 0.01} for key in keys} if way.bloom else None,
            store_schema=False,
            write_page_checksum=True,
        ) as writer:
            writer.write_table(rows, row_group_size=way.rows)

    seconds = _best(write)
    with duckdb.connect() as con:
        fan = rows.column("rover_id")[len(rows) // 3].as_py()
        of_file = f"FROM read_parquet('{path}')"
        since = f"(SELECT max(occurred_at) - INTERVAL 7 DAY {of_file})"
        statements = (
            f"SELECT * {of_file} WHERE rover_id = '{fan}'",
            f"SELECT event, count(*) {of_file} WHERE occurred_at >= {since} GROUP BY 1",
            f"SELECT attributes['channel'], count(*) {of_file} GROUP BY 1",
        )
        found = tuple(_best(lambda sql=sql: con.execute(sql).fetchall()) for sql in statements)  # type: ignore[misc]
    return Layout(way.name, seconds, path.stat().st_size / 1e6, (found[0], found[1], found[2]))


def _best(step: Callable[[], object]) -> float:
    """CPU seconds of the best round."""
    taken = []
    for _ in range(_ROUNDS):
        before = time.process_time()
        step()
        taken.append(time.process_time() - before)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=400_000, help="events to lay out")
    print(f"{'way':34}{'write s':>9}{'MB':>8}{'one fan ms':>12}{'a week ms':>11}{'a trait ms':>12}")
    for each in layout_rows(parser.parse_args().lines, lambda text: print(text, file=sys.stderr, flush=True)):
        one, week, trait = (1000 * seconds for seconds in each.queries)
        print(
            f"{each.name:34}{each.write_seconds:9.3f}{each.megabytes:8.2f}{one:12.1f}{week:11.1f}{trait:12.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Holds the tables of a peer against a plain model of what was delivered.

    python scripts/peers/plain_model.py expect FILE NIGHT...          what the tables must hold after these nights
    python scripts/peers/plain_model.py check FILE CATALOG TABLE...   the faults of these tables
    python scripts/peers/plain_model.py versions                      of the tools that are compared

A table is `records` (each distinct record once, with its earliest `emittedAt`) or `current` (of each key the record
with the greatest order and id, unless that is a delete). A row is known by its id or key, and compared by a digest of
its values: times in microseconds, and free-form objects entry by entry, each as JSON. Prints one JSON object.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import json
import pickle
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pyiceberg.table import StaticTable

from peer_tables import DATASETS, Dataset, all_tables, kind

Rows = dict[tuple[str, ...], bytes]
"""The digest of each row, by its id or key."""


def expected(dataset: Dataset, nights: list[Path]) -> tuple[Rows, Rows]:
    """The rows of the table of records and of the current table."""
    kept: dict[str, dict[str, Any]] = {}
    for night in nights:
        for path in sorted((night / "exports" / dataset.name).rglob("*.ndjson.gz")):
            with gzip.open(path) as file:
                for line in file:
                    record = orjson.loads(line)
                    row = {column: record.get(name) for name, column in dataset.names.items()}
                    before = kept.get(row["id"])
                    if before is None or _microseconds(row["emitted_at"]) < _microseconds(before["emitted_at"]):
                        kept[row["id"]] = row
    winners: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in sorted(kept.values(), key=lambda row: (_microseconds(row[dataset.order]), row["id"])):
        winners[tuple(row[column] for column in dataset.key)] = row
    digest = digester(dataset)
    records: Rows = {(id_,): digest(row) for id_, row in kept.items()}
    return records, {key: digest(row) for key, row in winners.items() if row.get("operation") != "delete"}


def digester(dataset: Dataset) -> Callable[[dict[str, Any]], bytes]:
    """A digest of a row: of one as it was delivered, or as a table has it."""
    as_text: dict[str, Callable[[Any], str]] = {
        "long": str,
        "string": str,
        "timestamp": lambda value: str(_microseconds(value)),
        "map": _map_text,
    }
    columns = [(column, as_text[kind(column)]) for column in dataset.columns]

    def digest(row: dict[str, Any]) -> bytes:
        return hashlib.md5(
            "\n".join(text(row[column]) for column, text in columns).encode(), usedforsecurity=False
        ).digest()

    return digest


def faults(rows: Iterator[dict[str, Any]], must: Rows, key: tuple[str, ...], dataset: Dataset) -> dict[str, int]:
    """How many rows are missing, surplus (their key has none), duplicates of a key, or wrong in a value."""
    digest = digester(dataset)
    seen: Counter[tuple[str, ...]] = Counter()
    right: set[tuple[str, ...]] = set()
    for row in rows:
        found = tuple(row[column] for column in key)
        seen[found] += 1
        if must.get(found) == digest(row):
            right.add(found)
    return {
        "missing": sum(1 for each in must if each not in seen),
        "surplus": sum(1 for each in seen if each not in must),
        "duplicates": sum(count - 1 for count in seen.values()),
        "wrong": sum(1 for each in seen if each in must and each not in right),
    }


def stored(catalog: Path, table: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of a table, as PyIceberg reads them."""
    with sqlite3.connect(catalog) as connection:
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = ?"
        found = connection.execute(query, [table]).fetchone()
    if found is None:
        return
    for batch in StaticTable.from_metadata(found[0]).scan(selected_fields=columns).to_arrow_batch_reader():
        yield from batch.select(list(columns)).to_pylist()


def _microseconds(value: str | datetime) -> int:
    if isinstance(value, str):
        return _parsed(value)
    since = value.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(1 << 18)
def _parsed(text: str) -> int:
    return _microseconds(datetime.fromisoformat(text))


def _map_text(value: Any) -> str:
    """Of an object, of the JSON text of one, or of a map's entries: each value as JSON."""
    if value is None:
        return ""
    entries = orjson.loads(value) if isinstance(value, str) else dict(value)
    return str(sorted((name, _value_text(entry)) for name, entry in entries.items()))


def _value_text(value: Any) -> str | None:
    """A map has the text of a value, and JSON the value itself: both end as the same text."""
    if value is None:
        return None
    return _read(value) if isinstance(value, str) else _dumped(value)


@lru_cache(1 << 18)
def _read(text: str) -> str:
    try:
        return text if text.startswith('"') else _dumped(orjson.loads(text))
    except orjson.JSONDecodeError:
        return text


def _dumped(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def main(verb: str, file: str = "", *arguments: str) -> None:
    if verb == "versions":
        print(json.dumps({name: importlib.metadata.version(name) for name in ("dlt", "iceberg-loader")}))
        return
    if verb == "expect":
        must: dict[str, Rows] = {}
        for dataset in DATASETS:
            records, current = expected(dataset, [Path(each) for each in arguments])
            must[dataset.records] = records
            if dataset.state:
                must[dataset.name] = current
        Path(file).write_bytes(pickle.dumps(must))
        print(json.dumps({name: len(rows) for name, rows in must.items()}))
        return
    must = pickle.loads(Path(file).read_bytes())  # noqa: S301  our own file, see above
    catalog, *tables = arguments
    found: dict[str, dict[str, int]] = {}
    for name in tables:
        dataset = all_tables()[name]
        key = ("id",) if name == dataset.records else dataset.key
        found[name] = faults(stored(Path(catalog), name, dataset.columns), must[name], key, dataset)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

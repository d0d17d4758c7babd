"""Reads a night by `orjson`, for the tools that take records of Python and want each key once."""

from __future__ import annotations

from pathlib import Path

import orjson
from isal import igzip

from peer_tables import Dataset


def newest(night: Path, dataset: Dataset) -> list[dict[str, object]]:
    """The newest record of each key, if it is no delete. Of two copies of a record it is the one emitted first."""
    found: dict[tuple[str, ...], tuple[str, str, dict[str, object]]] = {}
    for path in sorted((night / "exports" / dataset.name).rglob("*.ndjson.gz")):
        with igzip.IGzipFile(path) as file:  # type: ignore[no-untyped-call]  # isal types it only in part
            for line in file:
                record = orjson.loads(line)
                row = {column: record.get(name) for name, column in dataset.names.items()}
                key = tuple(row[column] for column in dataset.key)
                rank = (row[dataset.order], row["id"], row)
                before = found.get(key)
                if before is None or rank[:2] > before[:2] or _earlier_copy(rank, before):
                    found[key] = rank
    return [row for _, _, row in found.values() if row.get("operation") != "delete"]


def _earlier_copy(rank: tuple[str, str, dict[str, object]], before: tuple[str, str, dict[str, object]]) -> bool:
    return rank[:2] == before[:2] and str(rank[2]["emitted_at"]) < str(before[2]["emitted_at"])

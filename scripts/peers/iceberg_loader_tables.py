"""iceberg-loader: `upsert` of a night into the current tables, from records that `orjson` has parsed.

    python scripts/peers/iceberg_loader_tables.py LAKE NIGHT

It makes the tables, and stores free-form objects as JSON and times as text, for so it reads records. A key may come only
once, so the newest record of each is chosen before, in Python.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
from iceberg_loader import LoaderConfig, load_data_to_iceberg
from iceberg_loader.utils.arrow import create_arrow_table_from_data
from isal import igzip

from peer_tables import DATASETS, NAMESPACE, Dataset, open_catalog


def newest(night: Path, dataset: Dataset) -> list[dict[str, object]]:
    """The newest record of each key; of two copies of a record, the one that was emitted first."""
    found: dict[tuple[str, ...], tuple[str, str, dict[str, object]]] = {}
    for path in sorted((night / "exports" / dataset.name).rglob("*.ndjson.gz")):
        with igzip.open(path) as file:
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


def main(lake: str, night: str) -> None:
    catalog = open_catalog(Path(lake))
    for dataset in DATASETS:
        rows = create_arrow_table_from_data(newest(Path(night), dataset))
        config = LoaderConfig(write_mode="upsert", join_cols=list(dataset.key))
        load_data_to_iceberg(rows, (NAMESPACE, dataset.name), catalog, config=config)


if __name__ == "__main__":
    main(*sys.argv[1:])

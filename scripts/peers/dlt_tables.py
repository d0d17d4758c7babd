"""dlt: a resource for each dataset, merged into Iceberg tables of its file destination by their keys (`upsert`).

    python scripts/peers/dlt_tables.py LAKE NIGHT

The resources yield what `orjson` has parsed, in pages of 5,000. Types are given, so that dlt does not make tables of
what is nested. It has no rule on which of two records of a key is newer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import batched
from pathlib import Path
from typing import Any

import dlt
import orjson
from isal import igzip

from peer_tables import DATASETS, NAMESPACE, Dataset, kind, open_catalog

_TYPES = {"long": "bigint", "string": "text", "timestamp": "timestamp", "map": "json"}


def records(night: Path, dataset: Dataset) -> Iterator[dict[str, Any]]:
    for path in sorted((night / "exports" / dataset.name).rglob("*.ndjson.gz")):
        with igzip.open(path) as file:
            for line in file:
                record = orjson.loads(line)
                yield {column: record.get(name) for name, column in dataset.names.items()}


def resource(night: Path, dataset: Dataset) -> Any:
    return dlt.resource(
        (list(page) for page in batched(records(night, dataset), 5_000)),
        name=dataset.name,
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        primary_key=list(dataset.key),
        table_format="iceberg",
        columns={column: {"data_type": _TYPES[kind(column)]} for column in dataset.columns},
    )


def main(lake: str, night: str) -> None:
    folder = Path(lake)
    open_catalog(folder)
    config = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/warehouse"}
    os.environ |= {
        "ICEBERG_CATALOG__ICEBERG_CATALOG_NAME": "peers",
        "ICEBERG_CATALOG__ICEBERG_CATALOG_CONFIG": orjson.dumps(config).decode(),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    pipeline = dlt.pipeline(
        "peers",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(bucket_url=f"file://{folder}/warehouse"),
        dataset_name=NAMESPACE,
    )
    pipeline.run([resource(Path(night), dataset) for dataset in DATASETS])


if __name__ == "__main__":
    main(*sys.argv[1:])

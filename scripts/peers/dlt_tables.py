"""dlt: a resource for each dataset, merged into Iceberg tables of its file destination by their keys (`upsert`).

    python scripts/peers/dlt_tables.py LAKE NIGHT

Types are given, so that dlt does not make tables of what is nested. Its upsert fails if a key comes twice in a load, so
a resource has the newest record of each.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import dlt
import orjson

from peer_tables import DATASETS, NAMESPACE, Dataset, kind, open_catalog
from python_night import newest

_TYPES = {"long": "bigint", "string": "text", "timestamp": "timestamp", "map": "json"}


def resource(night: Path, dataset: Dataset) -> Any:
    return dlt.resource(
        newest(night, dataset),
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

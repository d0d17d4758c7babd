"""iceberg-loader: `upsert` of a night into the current tables, from the newest record of each key.

    python scripts/peers/iceberg_loader_tables.py LAKE NIGHT

It makes the tables, and stores free-form objects as JSON and times as text, for so it reads records. A key
may come only once.
"""

from __future__ import annotations

import sys
from pathlib import Path

from iceberg_loader import LoaderConfig, load_data_to_iceberg
from iceberg_loader.utils.arrow import create_arrow_table_from_data

from peer_tables import DATASETS, NAMESPACE, open_catalog
from python_night import newest


def main(lake: str, night: str) -> None:
    catalog = open_catalog(Path(lake))
    for dataset in DATASETS:
        rows = create_arrow_table_from_data(newest(Path(night), dataset))
        config = LoaderConfig(write_mode="upsert", join_cols=list(dataset.key))
        load_data_to_iceberg(rows, (NAMESPACE, dataset.name), catalog, config=config)


if __name__ == "__main__":
    main(*sys.argv[1:])

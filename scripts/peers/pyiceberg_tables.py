"""DuckDB reads a night, and PyIceberg writes it to the current tables: by `append`, or by `upsert` of the keys.

    python scripts/peers/pyiceberg_tables.py LAKE NIGHT append|upsert

Both write the newest record of each key of the night. `append` does not know what is stored. `upsert` replaces what is
stored, also by an older record, and deletes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from duckdb_night import connect, newest_rows, read_night
from peer_tables import DATASETS, NAMESPACE, create, current_tables, open_catalog


def main(lake: str, night: str, how: str) -> None:
    catalog, con = open_catalog(Path(lake)), connect()
    create(catalog, current_tables(), our_layout=False)
    for dataset in DATASETS:
        read_night(con, Path(night), dataset)
        table = catalog.load_table((NAMESPACE, dataset.name))
        rows = newest_rows(con, dataset).cast(table.schema().as_arrow())
        if how == "append":
            table.append(rows)
        else:
            table.upsert(rows, join_cols=list(dataset.key))


if __name__ == "__main__":
    main(*sys.argv[1:])

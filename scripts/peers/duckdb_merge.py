"""DuckDB alone: reads a night by `read_json` and merges it into the tables by `MERGE INTO`, through a REST catalog.

    python scripts/peers/duckdb_merge.py LAKE NIGHT PORT lean|ours

This is the rival to beat: right on what the second night has, in some 60 lines. Of a night it keeps each record once.
The history takes the records that it lacks, and the earlier one of two copies. The current table takes the newest
record of each key, if that is newer than the stored one, and, where records can delete, newer than all in the history.
`ours`: tables with the compactor's partitions, and rows in its order.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from duckdb_night import connect, read_night
from peer_tables import DATASETS, NAMESPACE, Dataset


def merge_records(con: duckdb.DuckDBPyConnection, dataset: Dataset, order_by: str) -> None:
    con.execute(
        f"MERGE INTO lake.{NAMESPACE}.{dataset.records} t USING (FROM incoming {order_by}) s ON t.id = s.id"
        f" WHEN MATCHED AND s.emitted_at < t.emitted_at THEN UPDATE SET {_assignments(dataset)}"
        " WHEN NOT MATCHED THEN INSERT *"
    )


def merge_current(con: duckdb.DuckDBPyConnection, dataset: Dataset, order_by: str) -> None:
    keys, newest = ", ".join(dataset.key), f"{dataset.order} DESC, id DESC"
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE newest AS FROM incoming"
        f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {newest}) = 1"
    )
    same_key = " AND ".join(f"t.{column} = s.{column}" for column in dataset.key)
    newer = f"(s.{dataset.order}, s.id) > (t.{dataset.order}, t.id)"
    target = f"lake.{NAMESPACE}.{dataset.name} t"
    matched = f"WHEN MATCHED AND {newer} THEN UPDATE SET {_assignments(dataset)}"
    if "operation" not in dataset.columns:
        con.execute(
            f"MERGE INTO {target} USING (FROM newest {order_by}) s ON {same_key} {matched}"
            " WHEN NOT MATCHED THEN INSERT *"
        )
        return
    con.execute(  # a key without a row may have been deleted after this record
        f"DELETE FROM newest s USING lake.{NAMESPACE}.{dataset.records} t"
        f" WHERE {same_key} AND (t.{dataset.order}, t.id) > (s.{dataset.order}, s.id)"
    )
    con.execute(
        f"MERGE INTO {target} USING (FROM newest WHERE operation = 'delete') s ON {same_key} WHEN MATCHED THEN DELETE"
    )
    con.execute(
        f"MERGE INTO {target} USING (FROM newest WHERE operation IS DISTINCT FROM 'delete' {order_by}) s"
        f" ON {same_key} {matched} WHEN NOT MATCHED THEN INSERT *"
    )


def _assignments(dataset: Dataset) -> str:
    return ", ".join(f"{column} = s.{column}" for column in dataset.columns)


def main(_lake: str, night: str, port: str, layout: str) -> None:
    con = connect()
    con.execute(
        f"ATTACH 'peers' AS lake (TYPE iceberg, ENDPOINT 'http://127.0.0.1:{port}',"
        " AUTHORIZATION_TYPE 'none', ACCESS_DELEGATION_MODE 'none')"
    )
    con.execute("SET unsafe_iceberg_ignore_sort_order = true")  # it writes no sorted table unless the caller sorts
    for dataset in DATASETS:
        read_night(con, Path(night), dataset)
        order_by = f"ORDER BY {', '.join(dataset.sort)}" if layout == "ours" else ""
        merge_records(con, dataset, order_by)
        if dataset.state:
            merge_current(con, dataset, order_by)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What is checked, and what each engine cannot do in the version that is pinned.

A check with a limit that begins to pass fails the suite: then the limit is to be taken out here.
"""

from __future__ import annotations

from tests.engines.board import Limit

CHECKS = {
    "values": "all tables: every row, every value",
    "types": "types, as the engine names them",
    "extremes": "count, min, max of each column",
    "unicode": "filters by odd texts",
    "nulls": "nulls, and maps that are empty or NULL",
    "maps": "a key of a map",
    "times": "timestamptz from year 1 to 9999, to the microsecond",
    "literals": "such times written as text in a filter",
    "days": "a day's filter opens that day's files alone",
    "lookup": "a point lookup opens one file of many",
    "snapshot": "time travel by snapshot",
    "tag": "time travel by tag, with the old columns",
    "migrated_rename": "after a rename",
    "migrated_add": "after a new column",
    "migrated_add_default": "after a new column with a default",
    "migrated_fill": "after a default for what was missing",
    "migrated_widen": "after a wider decimal, in place",
    "migrated_retype": "after a text became a time, rewritten",
    "migrated_remove": "after a removal",
    "migrated_split": "after a split",
    "migrated_merge": "after a merge",
    "migrated_promote": "after a promotion from a map",
    "maintained_trino": "after Trino's optimize and expire_snapshots, and a night",
    "maintained_spark35": "after Spark 3.5's rewrite_data_files, rewrite_manifests, expire_snapshots, and a night",
    "maintained_spark41": "the same by Spark 4.1",
    "deleted_trino": "after DELETE and MERGE by Trino (position deletes), 30 nights, a migration, and a repair",
    "deleted_spark35": "the same by Spark 3.5",
    "catalog_postgresql": "through a catalog on PostgreSQL",
    "catalog_rest": "through a REST catalog (Nessie) on S3",
    "catalog_glue": "through Glue on S3 (moto's), Trino with views",
    "pointer": "the commit that the catalog names, not a newer file beside it",
}
NULL_MAP = Limit(
    "a map that is NULL is read as an empty one", r"differ in \['traits'\], such as \{'traits': \(\{\}, None\)\}$"
)
EARLY_PARTITIONS = Limit(
    "a filter outside 1900 to 2299 misses rows if the table is partitioned by that time, but with "
    "`use_iceberg_partition_pruning = 0` it does not",
    "^= 0001-01-03.*0 rows instead of 1$",
)
LIMITS: dict[tuple[str, str], Limit] = {
    ("chdb", "values"): NULL_MAP,
    ("chdb", "nulls"): NULL_MAP,
    ("chdb", "times"): EARLY_PARTITIONS,
    ("chdb", "literals"): EARLY_PARTITIONS,
    ("chdb", "tag"): Limit("a snapshot is named by its id alone", "Cannot parse input"),
    ("duckdb", "tag"): Limit("a snapshot is named by its id alone", "Could not convert string 'before-.*to UINT64"),
    ("polars", "tag"): Limit("a snapshot is named by its id alone", "unexpected keyword argument 'tag'"),
    ("sail", "pointer"): Limit(
        "is given a folder, and takes the metadata file with the highest number in it", "21 rows instead of 39$"
    ),
    ("daft", "migrated_remove"): Limit(
        "files from before a column was removed cannot be decoded", "Failed to decode parquet column"
    ),
    ("duckdb", "times"): Limit(
        "a filter before 1582-10-15 misses rows if the table is partitioned by that time: months are the Julian ones",
        "^= 1582-10-04 12:00:00.*0 rows instead of 1$",
    ),
    ("duckdb", "literals"): Limit(
        "a text of a time before 1582-10-15 is taken by the Julian calendar; `make_timestamptz(microseconds)` is not",
        "^= 0001-01-03 00:00:00.*0 rows instead of 1$",
    ),
}

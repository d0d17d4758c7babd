"""A table that Spark may change: a copy of its metadata, which only the session's own catalog knows.

Iceberg's own runtime merges into the clone and commits there. The files that this adds and removes are then committed
to the table itself by `compactor.publish`, under the same rule as any change: only if the table is still as it was
when it was cloned. So a change by Spark is published as all others are, and one that is not published has left nothing
but files that no table names.

Data files lie where the table's own do. The clone's metadata has a folder below the table's location, in `staging/`,
which is removed when the clone is closed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pyarrow.fs import FileSelector, FileType
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyspark.sql import SparkSession

from compactor.engines.base import Change
from compactor.lake.table import Table

CATALOG = "compactor"


@dataclass(frozen=True)
class Clone:
    """An open clone of `table`. `name` is how Spark SQL names it, `catalog` and `identifier` how Iceberg does."""

    table: Table
    name: str
    catalog: Any
    identifier: Any

    def change(self) -> Change:
        """What Spark has committed to the clone since it was opened, in one commit at most."""
        location = self.catalog.loadTable(self.identifier).operations().current().metadataFileLocation()
        snapshot = FromInputFile.table_metadata(self.table.for_clone.io.new_input(location)).current_snapshot()
        if snapshot is None or snapshot.snapshot_id == self.table.snapshot_id:
            return Change([], [])
        added, removed = self.table.changed_files(snapshot)
        self.table.sync(added)
        return Change(added, removed)


@contextmanager
def cloned(spark: SparkSession, table: Table) -> Iterator[Clone]:
    """Clones a table for Spark SQL, as it was loaded."""
    jvm: Any = spark._jvm  # noqa: SLF001  Iceberg's catalogs have no other way in
    catalog = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergCatalog(spark._jsparkSession, CATALOG)  # noqa: SLF001
    name = f"t{uuid.uuid4().hex}"
    folder = f"{table.location}/staging/{name}"
    identifier = jvm.org.apache.iceberg.catalog.TableIdentifier.parse(f"clones.{name}")
    try:
        catalog.registerTable(identifier, _write_metadata(table, folder))
        yield Clone(table, f"{CATALOG}.clones.{name}", catalog, identifier)
        catalog.dropTable(identifier, False)  # noqa: FBT003  of its files
    finally:
        with suppress(OSError):  # what is left costs a little storage, and `verify --files` reports it
            _remove(table, folder)


def _write_metadata(table: Table, folder: str) -> str:
    """Writes the clone's metadata into its folder and returns the file's location."""
    metadata = table.for_clone.metadata
    properties = {
        **metadata.properties,
        "write.metadata.path": folder,
        # Else the clone's commit would delete the oldest version that is kept of the table's own metadata.
        "write.metadata.delete-after-commit.enabled": "false",
        "write.merge.mode": "copy-on-write",
        "write.merge.distribution-mode": "hash" if table.for_clone.spec().fields else "range",
        "write.parquet.bloom-filter-max-bytes": str(_bloom_bytes(table)),
    }
    location = f"{folder}/base.metadata.json"
    output = table.for_clone.io.new_output(location)
    ToOutputFile.table_metadata(metadata.model_copy(update={"properties": properties}), output)
    return location


def _bloom_bytes(table: Table) -> int:
    """The size of a bloom filter in bytes: Parquet's Java writer makes each as large as allowed, by default 1 MiB.

    16 bits for each value of an average file, so that one of twice as many rows still finds 1 in 100 by mistake.
    """
    files = table.files
    rows = sum(file.record_count for file in files) // len(files) if files else 0
    return min(1 << (2 * max(rows, 16_384)).bit_length(), 1 << 20) if rows else 1 << 15


def _remove(table: Table, folder: str) -> None:
    io: Any = table.for_clone.io
    scheme, netloc, path = io.parse_location(folder)
    system = io.fs_by_scheme(scheme, netloc)
    for info in system.get_file_info(FileSelector(path, allow_not_found=True, recursive=True)):
        if info.type == FileType.File:
            system.delete_file(info.path)
    if system.type_name == "local":
        system.delete_dir(path)

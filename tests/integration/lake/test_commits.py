"""What a commit does to the manifests of a table that other engines write to as well."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.manifest import ManifestContent

from tests.support.warehouse import Warehouse, by_id, rows


@pytest.mark.parametrize("partition", ["none", "day"])
def test_rows_that_another_engine_deleted_stay_deleted_however_many_commits_follow(
    tmp_path: Path, partition: str
) -> None:
    lake = Warehouse.in_folder(tmp_path, partition)
    lake.append(rows(100))
    for file in lake.table.files:
        lake.delete_rows(file, [0])
    deleted = {row["id"] for row in by_id(rows(100))} - {row["id"] for row in lake.by_arrow(["id"])}
    assert len(deleted) == len(lake.table.files)
    for night in range(30):  # well past the number of manifests from which on they are merged
        lake.append(rows(1, first=100 + night), commit_id=f"night {night}")

    expected = [row for row in by_id(rows(130)) if row["id"] not in deleted]
    assert [row["id"] for row in lake.by_duckdb()] == [row["id"] for row in expected]
    assert [row["id"] for row in lake.by_arrow(["id"])] == [row["id"] for row in expected]
    snapshot = lake.iceberg.current_snapshot()
    assert snapshot is not None
    manifests = snapshot.manifests(lake.iceberg.io)
    assert len([manifest for manifest in manifests if manifest.content == ManifestContent.DATA]) < 25

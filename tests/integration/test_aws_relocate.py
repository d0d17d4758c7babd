"""A lake in S3 that was copied to another bucket: on Glue, on a SQL catalog, and into a catalog that is new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest

import compactor
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import MisplacedTableError
from compactor.lake.catalog import Lakehouse
from tests.support.aws_lake import AwsLake, identity
from tests.support.glue_server import AwsServer
from tests.support.lake import SCHEMAS
from tests.support.moved import paths_in, told_by_pyiceberg
from tests.support.warehouse import delete_by_position

MINE = ("fan_identity_graph",)
TABLES = ("fan_identity_graph", "fan_identity_graph_history", "compactor_files")
NIGHTS = ("2026-11-01T05", "2026-11-01T06", "2026-11-01T07")


def night(lake: AwsLake, number: int) -> None:
    times = [f"2026-10-2{number}T1{hour}:00:00Z" for hour in range(2)]
    lines = [identity(f"i{number}{n}", at, f"{n}@x.org") for n, at in enumerate(times)]
    lake.deliver("fan_identity_graph", lines, hour=NIGHTS[number])
    assert lake.compact(datasets=MINE, full_scan=True).exit_code == 0


def lived_in(lake: AwsLake) -> dict[str, Any]:
    """Two nights, and a deletion by another engine. What an engine reads then."""
    night(lake, 0)
    table = lake.catalog.load_table(f"{lake.config.namespace}.fan_identity_graph")
    delete_by_position(table, next(iter(table.scan().plan_files())).file, [0])
    night(lake, 1)
    return told_by_pyiceberg(lake.catalog, lake.config.namespace, TABLES)


def synced(lake: AwsLake, bucket: str) -> None:
    """As `aws s3 sync` does."""
    lake.s3.create_bucket(Bucket=bucket)
    for key in lake.objects():
        lake.s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": lake.lake_bucket, "Key": key})


def assert_relocated(lake: AwsLake, bucket: str, tables: dict[str, Any], before: dict[str, str]) -> None:
    """All that was there is there, in the new bucket alone; the next night works, and the old bucket is as it was."""
    namespace = lake.config.namespace
    assert told_by_pyiceberg(lake.catalog, namespace, TABLES) == tables
    assert [path for path in paths_in(lake.catalog, namespace) if not path.startswith(f"s3://{bucket}/")] == []
    night(lake, 2)
    assert lake.objects() == before


def test_a_lake_on_glue_is_relocated_to_another_bucket(aws_lake: AwsLake, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, before, bucket = lived_in(aws_lake), aws_lake.objects(), f"{aws_lake.lake_bucket}-copy"
    glue = boto3.session.Session().client("glue")
    location = {"Name": aws_lake.database, "LocationUri": f"s3://{aws_lake.lake_bucket}/own"}
    monkeypatch.setenv("ROVER_LAKE_BUCKET", bucket)
    aws_lake.s3.create_bucket(Bucket=bucket)
    assert status(aws_lake.config, aws_lake.registry).problems == (), "tables may lie outside of the warehouse"
    synced(aws_lake, bucket)
    with pytest.raises(
        MisplacedTableError, match=rf"at s3://{aws_lake.lake_bucket}/.* but the warehouse .* is s3://{bucket}/"
    ):
        aws_lake.compact(datasets=MINE)
    assert status(aws_lake.config, aws_lake.registry).exit_code == 1
    glue.update_database(Name=aws_lake.database, DatabaseInput=location)

    report = compactor.open(aws_lake.file).relocate_apply()

    assert (report.done, report.source) == (True, f"s3://{aws_lake.lake_bucket}/warehouse")
    assert_relocated(aws_lake, bucket, tables, before)
    checks = verify(aws_lake.config, aws_lake.registry, rebuild=True, files=True).checks
    # Another engine has deleted a row of the current table on purpose.
    assert {check.table for check in checks if not check.ok} <= {"fan_identity_graph"}, checks
    for table in glue.get_tables(DatabaseName=aws_lake.database)["TableList"]:
        assert table["StorageDescriptor"]["Location"].startswith(f"s3://{bucket}/warehouse/")
    glue.close()


@pytest.mark.soak
def test_a_new_database_of_glue_gets_the_tables_of_a_copied_bucket(
    aws_lake: AwsLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, before, bucket = lived_in(aws_lake), aws_lake.objects(), f"{aws_lake.lake_bucket}-copy"
    synced(aws_lake, bucket)
    old = aws_lake.catalog.load_table(f"{aws_lake.database}.compactor_files").metadata_location
    monkeypatch.setenv("ROVER_LAKE_BUCKET", bucket)
    monkeypatch.setenv("ROVER_NAMESPACE", f"{aws_lake.database}_new")
    lake = compactor.open(aws_lake.file)
    assert {each.state for each in lake.relocate_plan().tables} == {"register"}

    assert lake.relocate_apply().done

    assert_relocated(aws_lake, bucket, tables, before)
    assert aws_lake.catalog.load_table(f"{aws_lake.database}.compactor_files").metadata_location == old


@pytest.mark.soak
def test_a_database_with_a_folder_of_its_own_is_no_copy_and_the_folder_moves_with_it(
    aws_lake: AwsLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    glue = boto3.session.Session().client("glue")
    own = f"s3://{aws_lake.lake_bucket}/own"
    glue.create_database(DatabaseInput={"Name": aws_lake.database, "LocationUri": own})
    tables, before, bucket = lived_in(aws_lake), aws_lake.objects(), f"{aws_lake.lake_bucket}-copy"
    assert all(key.startswith("own/") for key in before)
    synced(aws_lake, bucket)
    monkeypatch.setenv("ROVER_LAKE_BUCKET", bucket)
    assert status(aws_lake.config, aws_lake.registry).exit_code == 0

    lake = compactor.open(aws_lake.file)
    assert lake.relocate_apply(source=f"s3://{aws_lake.lake_bucket}", target=f"s3://{bucket}/").done

    assert_relocated(aws_lake, bucket, tables, before)
    assert glue.get_database(Name=aws_lake.database)["Database"]["LocationUri"] == f"s3://{bucket}/own"
    glue.close()


@pytest.mark.soak
def test_a_lake_on_a_sql_catalog_is_relocated_to_another_bucket(
    aws_lake: AwsLake, aws_server: AwsServer, tmp_path: Path
) -> None:
    def on(bucket: str, catalog: str) -> None:
        aws_lake.file = tmp_path / f"{bucket}.yaml"
        properties = (
            f"{{type: sql, uri: 'sqlite:///{tmp_path}/{catalog}', warehouse: 's3://{bucket}/warehouse',"
            f" s3.endpoint: '{aws_server.url}', client.region: us-east-1}}"
        )
        aws_lake.file.write_text(
            f"source: {{url: '{aws_lake.source}'}}\nschemas: {SCHEMAS}\nif_running: ignore\n"
            f"catalog: {{properties: {properties}}}\n"
        )

    on(aws_lake.lake_bucket, "first.db")
    tables, before, bucket = lived_in(aws_lake), aws_lake.objects(), f"{aws_lake.lake_bucket}-copy"
    synced(aws_lake, bucket)
    (tmp_path / "second.db").write_bytes((tmp_path / "first.db").read_bytes())
    on(bucket, "second.db")
    with pytest.raises(MisplacedTableError):
        Lakehouse(aws_lake.config).table("compactor_files")

    assert compactor.open(aws_lake.file).relocate_apply().done

    assert_relocated(aws_lake, bucket, tables, before)

"""The whole job on AWS: exports in S3, tables in S3, a Glue catalog, `configs/aws.yaml` itself; all of it over HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from pyiceberg.io.pyarrow import PyArrowFileIO

from compactor.config import load
from compactor.duck import session
from compactor.duck.relations import Relations
from compactor.errors import ConflictError
from compactor.lake import catalog, catalogs, own_tables
from compactor.lake.rewrite import rewrite
from compactor.lake.schema_change import TargetColumn, evolved_schema
from compactor.lake.synced_files import IMPLEMENTATION
from compactor.lake.table import Table
from compactor.lake.table_changes import change_columns, roll_back, tag
from compactor.publish.accounting import Entries
from compactor.publish.intent import CommitIntent
from compactor.types.field_type import STRING
from tests.support.aws_lake import NIGHTLY, AwsLake, deliver_first_hour, deliver_next_hour
from tests.support.glue_server import AwsServer
from tests.support.histories import DATASETS, History
from tests.support.lake import ROOT
from tests.support.warehouse import Warehouse, columns, new, paths, rows


def test_each_hour_brings_the_tables_to_the_model_and_a_run_with_nothing_to_do_makes_one_commit(
    aws_lake: AwsLake,
) -> None:
    deliver_first_hour(aws_lake)
    first = aws_lake.run(*NIGHTLY, exit_code=3)
    aws_lake.assert_equals_model(DATASETS)
    assert sum(dataset["quarantined"] for dataset in first["datasets"]) == 1

    deliver_next_hour(aws_lake)
    second = aws_lake.run(*NIGHTLY)
    aws_lake.assert_equals_model(DATASETS)
    assert {dataset["dataset"]: (dataset["new"], dataset["duplicates"]) for dataset in second["datasets"]} == {
        "fan_profiles": (2, 1),
        "fan_identity_graph": (2, 0),
        "fan_profile_merges": (0, 0),
        "fan_track_events": (1, 5),
    }

    before = aws_lake.objects()
    third = aws_lake.run(*NIGHTLY)
    assert [dataset["objects"] for dataset in third["datasets"]] == [0, 0, 0, 0]
    marks = {name for name in before if name.endswith("/notes/tables.json")}  # written at the end of each run
    added = {item for item in aws_lake.objects().items() - before.items() if item[0] not in marks}
    assert {item for item in before.items() if item[0] not in marks} <= aws_lake.objects().items()
    assert {name.split("/")[2] for name, _ in added} == {"compactor_runs"}
    assert len(added) == 4, "a data file, a manifest, its list and the metadata"


def test_the_requests_of_a_run_are_those_that_reach_the_services(aws_lake: AwsLake, aws_server: AwsServer) -> None:
    deliver_first_hour(aws_lake)
    before = len(aws_server.calls)
    found = aws_lake.compact().requests
    calls = aws_server.calls[before:]
    assert found is not None
    export = [call.action for call in calls if f":{aws_lake.export_bucket}" in call.resource]
    assert found.source == {"list": export.count("s3:ListBucket"), "get": export.count("s3:GetObject")}
    assert found.catalog == sum(call.resource.endswith(":catalog") for call in calls)
    written = [call for call in calls if call.action == "s3:PutObject"]
    assert 0 < found.tables["put"] <= len(written), "a large file takes several requests"


def test_status_verify_and_query_answer_from_s3_and_glue(aws_lake: AwsLake) -> None:
    deliver_first_hour(aws_lake)
    aws_lake.compact(datasets=("fan_profiles", "fan_track_events"))
    deliver_next_hour(aws_lake)

    shown = aws_lake.run("status", "--json")
    assert {name: left["objects"] for name, left in shown["pending"].items()} == {
        "fan_profiles": 1,
        "fan_identity_graph": 2,
        "fan_profile_merges": 1,
        "fan_track_events": 1,
    }
    assert shown["quarantine"] == {"fan_profiles": {"not_json": 1}}

    aws_lake.compact(datasets=("fan_profiles", "fan_track_events"))
    checks = aws_lake.run("verify", "--rebuild", "--json")["checks"]
    assert [check for check in checks if not check["ok"]] == []
    assert [check["table"] for check in checks if "history says" in check["name"]] == ["fan_profiles"]

    current = "SELECT id, traits['spend'] AS spend, traits['tier'] AS tier FROM fan_profiles"
    assert aws_lake.run("query", "--json", current)["rows"] == [{"id": "p2", "spend": "20", "tier": None}]
    joined = "SELECT count(*) AS n FROM fan_track_events e JOIN fan_profiles_history p USING (rover_id)"
    assert aws_lake.run("query", "--json", joined)["rows"] == [{"n": 6 * 3}]


def test_two_jobs_at_once_bring_the_tables_to_the_model(aws_lake: AwsLake, aws_server: AwsServer) -> None:
    for delivery in History(7, replaces=False).deliveries(30, 12):
        aws_lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)

    # Both get as far as this commit before either is let through, so one of the two must be refused.
    with aws_server.meeting(f"{aws_lake.database}/fan_identity_graph_history"):
        jobs = [aws_lake.start("--log-format", "text", *NIGHTLY, "--if-running=ignore") for _ in range(2)]
        ends = [job.communicate(timeout=300) for job in jobs]

    assert all(job.returncode in (0, 3) for job in jobs), ends
    assert re.search(
        r"fan_identity_graph_history: another writer committed first; planning again", ends[0][1] + ends[1][1]
    )
    aws_lake.assert_equals_model(DATASETS)
    reports = [json.loads(out)["datasets"] for out, _ in ends]
    assert sum(dataset["new"] for report in reports for dataset in report) == sum(
        map(aws_lake.model.new_total, DATASETS)
    )


def test_an_intent_that_goes_while_it_is_read_is_that_of_a_finished_batch(
    aws_lake: AwsLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs may finish the same batch. S3, unlike a disk, does not keep an open file that the other one deletes."""
    aws_lake.tables.ensure(aws_lake.registry, [])
    intent = CommitIntent.new(aws_lake.tables, "a run", mode="keep")
    open_file = Table.open

    def open_then_lose(self: Table, path: str) -> Any:
        opened = open_file(self, path)
        intent.delete()
        return opened

    with session.session(aws_lake.config.resources) as con, Relations(con) as relations:
        entries = Entries(
            relations.table("ledger", "SELECT 1 AS size"), relations.table("quarantine", "SELECT 1 AS line")
        )
        intent.write(con, entries)
        monkeypatch.setattr(Table, "open", open_then_lose)
        assert intent.read(relations) is None
    intent.delete()  # again


def test_the_server_refuses_a_commit_on_a_stale_version(aws_lake: AwsLake) -> None:
    aws_lake.tables.ensure(aws_lake.registry, [])
    glue = boto3.session.Session().client("glue")
    table = {"Name": "compactor_runs", "Parameters": {"by": "another"}}
    seen = glue.get_table(DatabaseName=aws_lake.database, Name="compactor_runs")["Table"]["VersionId"]
    glue.update_table(DatabaseName=aws_lake.database, TableInput=table, VersionId=seen, SkipArchive=True)

    with pytest.raises(ClientError, match="ConcurrentModificationException"):
        glue.update_table(DatabaseName=aws_lake.database, TableInput=table, VersionId=seen, SkipArchive=True)
    glue.close()


def test_athena_finds_the_tables_in_glue(aws_lake: AwsLake) -> None:
    aws_lake.tables.ensure(aws_lake.registry, DATASETS)
    glue = boto3.session.Session().client("glue")
    tables = {table["Name"]: table for table in glue.get_tables(DatabaseName=aws_lake.database)["TableList"]}
    glue.close()

    assert len(tables) == 4 + 3 + 4
    for name, table in tables.items():
        assert table["TableType"] == "EXTERNAL_TABLE"
        assert table["Parameters"]["table_type"] == "ICEBERG"
        folder = f"s3://{aws_lake.lake_bucket}/warehouse/{aws_lake.database}.db/{name}"
        assert table["StorageDescriptor"]["Location"] == folder
        assert table["Parameters"]["metadata_location"].startswith(f"{folder}/metadata/")
        assert all(re.fullmatch("[a-z0-9_]+", column["Name"]) for column in table["StorageDescriptor"]["Columns"])
    types = {column["Name"]: column["Type"] for column in tables["fan_profiles"]["StorageDescriptor"]["Columns"]}
    assert (types["updated_at"], types["traits"]) == ("timestamp", "map<string,string>")


def test_tables_are_read_and_written_by_arrow_with_time_enough(aws_lake: AwsLake) -> None:
    aws_lake.tables.ensure(aws_lake.registry, [])
    storage = aws_lake.tables.load_iceberg(own_tables.RUNS).io
    assert isinstance(storage, PyArrowFileIO)
    assert float(storage.properties["s3.connect-timeout"]) >= 5
    assert float(storage.properties["s3.request-timeout"]) >= 30


EXAMPLES = re.findall("```yaml\n(.*?)```", (ROOT / "docs" / "catalogs.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_catalog_properties_reach_pyiceberg_untouched(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"\$\{(\w+)\}", example):
        monkeypatch.setenv(name, f"value-of-{name}")
    (tmp_path / "config.yaml").write_text(example)
    given: dict[str, str] = {}
    monkeypatch.setattr(catalogs, "opened", lambda _kind, _name, properties, _requests: given.update(properties))

    catalog.Lakehouse(load(tmp_path / "config.yaml"))

    written = yaml.load(example, Loader=yaml.BaseLoader)["catalog"]["properties"]
    expected = {name: re.sub(r"\$\{(\w+)\}", r"value-of-\1", value) for name, value in written.items()}
    of_s3 = {"py-io-impl": IMPLEMENTATION} if written.get("warehouse", "").startswith("s3://") else {}
    assert given == {"s3.connect-timeout": "10", "s3.request-timeout": "60"} | of_s3 | expected


def test_columns_change_and_change_back_in_glue(aws_lake: AwsLake) -> None:
    fans = Warehouse(aws_lake.catalog, "day")
    snapshot = fans.append(rows(30))
    schema_id, before = fans.table.schema_id, paths(fans.table)
    tag(fans.table, "before")
    stale = fans.table
    renamed = columns(tier=TargetColumn("level", STRING, False, "tier"), device=new("device", "map"))
    change: dict[str, Any] = {"properties": {"v": "2"}, "summary": {}}
    assert change_columns(fans.table, evolved_schema(stale, renamed), [], [], commit_id="rename", **change) is None
    with pytest.raises(ConflictError):
        change_columns(stale, evolved_schema(stale, columns()), [], [], commit_id="late", **change)
    assert paths(fans.table) == before
    assert [row["level"] for row in fans.by_arrow()] == [row["tier"] for row in rows(30)]
    glue = boto3.session.Session().client("glue")
    found = glue.get_table(DatabaseName="rover", Name="fans")["Table"]["StorageDescriptor"]["Columns"]
    glue.close()
    now = [column["Name"] for column in found if column["Parameters"]["iceberg.field.current"] == "true"]
    assert now == fans.table.schema.names

    table = fans.table
    files = rewrite(
        table,
        table.iceberg_schema,
        table.files,
        lambda reader: reader,
        target_bytes=1 << 30,
        bloom_columns=["id"],
        on_progress=lambda _files, _rows: None,
    )
    change_columns(table, table.iceberg_schema, files, table.files, commit_id="rewrite", **change)
    assert not set(paths(fans.table)) & set(before)
    assert fans.by_arrow(snapshot_id=snapshot) == rows(30)

    roll_back(fans.table, "before", schema_id=schema_id, properties={"v": None}, commit_id="back")
    assert fans.by_arrow() == rows(30)
    fans.append(rows(10, 30), "after")
    assert fans.by_arrow() == rows(40)

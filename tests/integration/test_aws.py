"""The whole job on AWS: exports in S3, tables in S3, a Glue catalog, `configs/aws.yaml` itself; all of it over HTTP."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from compactor.commands import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.config import load
from compactor.duck import session
from compactor.errors import CompactorError, ConflictError
from compactor.evolution.schema import TargetColumn, evolved_schema, rewrite
from compactor.lake import catalog
from compactor.lake.table import Table
from compactor.progress import NullProgress
from compactor.publish.intent import Note
from compactor.source.s3 import Credentials
from tests.support.glue_server import ACCOUNT, OWNER, AwsServer, Call, Statement, shared_aws_server  # noqa: F401  # a fixture
from tests.support.histories import DATASETS, History
from tests.support.lake import ROOT, SCHEMAS, Lake
from tests.support.s3_server import clean_aws_environment  # noqa: F401  # a fixture
from tests.support.warehouse import Warehouse, columns, new, paths, rows

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONFIG = ROOT / "configs" / "aws.yaml"
POLICY = ROOT / "deploy" / "iam-policy.json"
PREFIX = "rover/team-7"
NIGHTLY = ("compact", "--json")

FAN, GONE = (f"{number:08d}-0000-4000-8000-000000000000" for number in (1, 2))
_numbers = itertools.count(1)


class AwsLake(Lake):
    """A lake on the server. It has buckets and a Glue database of its own; the environment leads the config there."""

    def __init__(self, folder: Path, server: AwsServer, environment: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        number = next(_numbers)
        self.file = CONFIG
        self.database, self.export_bucket, self.lake_bucket = f"rover_{number}", f"export-{number}", f"lake-{number}"
        settings = {
            "AWS_ENDPOINT_URL": server.url,
            "ROVER_EXPORT_BUCKET": self.export_bucket,
            "ROVER_EXPORT_PREFIX": PREFIX,
            "ROVER_LAKE_BUCKET": self.lake_bucket,
            "ROVER_NAMESPACE": self.database,
        }
        for name, value in settings.items():
            environment.setenv(name, value)
        owner = boto3.session.Session(aws_access_key_id=OWNER, aws_secret_access_key="test-secret")
        self.s3: S3Client = owner.client("s3")
        for bucket in (self.export_bucket, self.lake_bucket):
            self.s3.create_bucket(Bucket=bucket)

    def deliver(self, dataset: str, lines: Sequence[bytes], **where: Any) -> str:
        key = super().deliver(dataset, lines, **where)
        self.s3.put_object(Bucket=self.export_bucket, Key=f"{PREFIX}/{key}", Body=(self.source / key).read_bytes())
        return key

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Runs the command line on its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "compactor", "-c", "configs/aws.yaml", *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, exit_code: int = 0) -> Any:
        """Runs the command line to its end; what it printed, parsed."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == exit_code, err
        return json.loads(out)

    def objects(self) -> dict[str, str]:
        """All that lies in the tables' bucket: key -> ETag."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.lake_bucket)
        return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}


@pytest.fixture
def lake(
    tmp_path: Path,
    aws_server: AwsServer,
    aws_environment: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[AwsLake]:
    lake = AwsLake(tmp_path, aws_server, monkeypatch)
    yield lake
    lake.s3.close()
    aws_server.denied = set()


def line(id_: str, **fields: Any) -> bytes:
    record = {"id": id_, "version": 1, "roverID": FAN, "emittedAt": "2026-11-01T05:00:00Z", **fields}
    return json.dumps(record).encode()


def profile(id_: str, updated: str, **traits: Any) -> bytes:
    return line(id_, updatedAt=updated, traits=traits)


def identity(id_: str, updated: str, value: str, operation: str = "upsert") -> bytes:
    return line(id_, updatedAt=updated, identifierType="email", identifierValue=value, operation=operation)


def event(id_: str, occurred: str, name: str = "App Opened") -> bytes:
    return line(id_, occurredAt=occurred, event=name, attributes={"screen": "home"}, device={"os": "iOS"})


def deliver_first_hour(lake: AwsLake) -> None:
    first = [profile("p1", "2026-10-30T10:00:00Z", tier="gold", spend=12.5), b'{"id": "broken"']
    lake.deliver("fan_profiles", first)
    ties = [identity("i1", "2026-10-30T10:00:00Z", "a@example.com"), identity("i2", "2026-10-31T10:00:00Z", "b@x.org")]
    lake.deliver("fan_identity_graph", ties)
    merge = line("m1", fromRoverID=GONE, toRoverID=FAN, mergedAt="2026-10-31T23:59:59Z")
    lake.deliver("fan_profile_merges", [merge])
    lake.deliver("fan_track_events", [event(f"e{n}", f"2026-11-01T0{n}:30:00Z") for n in range(5)], part="replaced")


def deliver_next_hour(lake: AwsLake) -> None:
    """A newer profile, a late one and a duplicate; a delete, and an upsert older than it; a key with new content."""
    hour = "2026-11-01T06"
    newer, late = profile("p2", "2026-11-01T05:30:00Z", spend=20), profile("p0", "2026-10-29T08:00:00Z", tier="new")
    lake.deliver(
        "fan_profiles", [newer, late, profile("p1", "2026-10-30T10:00:00Z", tier="gold", spend=12.5)], hour=hour
    )
    delete = identity("i3", "2026-11-01T05:40:00Z", "a@example.com", "delete")
    lake.deliver("fan_identity_graph", [delete, identity("i0", "2026-10-29T10:00:00Z", "a@example.com")], hour=hour)
    again = [event(f"e{n}", f"2026-11-01T0{n}:30:00Z") for n in range(6)]
    lake.deliver("fan_track_events", again, part="replaced")


def test_each_hour_brings_the_tables_to_the_model_and_a_run_with_nothing_to_do_changes_nothing(lake: AwsLake) -> None:
    deliver_first_hour(lake)
    first = lake.run(*NIGHTLY, exit_code=3)
    lake.assert_equals_model(DATASETS)
    assert sum(dataset["quarantined"] for dataset in first["datasets"]) == 1

    deliver_next_hour(lake)
    second = lake.run(*NIGHTLY)
    lake.assert_equals_model(DATASETS)
    assert {dataset["dataset"]: (dataset["new"], dataset["duplicates"]) for dataset in second["datasets"]} == {
        "fan_profiles": (2, 1),
        "fan_identity_graph": (2, 0),
        "fan_profile_merges": (0, 0),
        "fan_track_events": (1, 5),
    }

    before = lake.objects()
    third = lake.run(*NIGHTLY)
    assert [dataset["objects"] for dataset in third["datasets"]] == [0, 0, 0, 0]
    assert lake.objects() == before


def test_status_verify_and_query_answer_from_s3_and_glue(lake: AwsLake) -> None:
    deliver_first_hour(lake)
    lake.compact(datasets=("fan_profiles", "fan_track_events"))
    deliver_next_hour(lake)

    shown = lake.run("status", "--json")
    assert {name: left["objects"] for name, left in shown["pending"].items()} == {
        "fan_profiles": 1,
        "fan_identity_graph": 2,
        "fan_profile_merges": 1,
        "fan_track_events": 1,
    }
    assert shown["quarantine"] == {"fan_profiles": {"not_json": 1}}

    lake.compact(datasets=("fan_profiles", "fan_track_events"))
    checks = lake.run("verify", "--rebuild", "--json")["checks"]
    assert [check for check in checks if not check["ok"]] == []
    assert [check["table"] for check in checks if "history says" in check["name"]] == ["fan_profiles"]

    current = "SELECT id, traits['spend'] AS spend, traits['tier'] AS tier FROM fan_profiles"
    assert lake.run("query", "--json", current)["rows"] == [{"id": "p2", "spend": "20", "tier": None}]
    joined = "SELECT count(*) AS n FROM fan_track_events e JOIN fan_profiles_history p USING (rover_id)"
    assert lake.run("query", "--json", joined)["rows"] == [{"n": 6 * 3}]


def test_two_jobs_at_once_bring_the_tables_to_the_model(lake: AwsLake, aws_server: AwsServer) -> None:
    for delivery in History(7, replaces=False).deliveries(30, 12):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)

    # Both get as far as this commit before either is let through, so one of the two must be refused.
    with aws_server.meeting(f"{lake.database}/fan_identity_graph_history"):
        jobs = [lake.start("--log-format", "text", *NIGHTLY, "--if-running=ignore") for _ in range(2)]
        ends = [job.communicate(timeout=300) for job in jobs]

    assert all(job.returncode in (0, 3) for job in jobs), ends
    assert re.search(
        r"fan_identity_graph_history: another writer committed first; planning again", ends[0][1] + ends[1][1]
    )
    lake.assert_equals_model(DATASETS)
    reports = [json.loads(out)["datasets"] for out, _ in ends]
    assert sum(dataset["new"] for report in reports for dataset in report) == sum(map(lake.model.new_total, DATASETS))


def test_a_note_that_goes_while_it_is_read_is_that_of_a_finished_batch(
    lake: AwsLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs may finish the same batch. S3, unlike a disk, does not keep an open file that the other one deletes."""
    lake.tables.ensure(lake.registry, [])
    note = Note.new(lake.tables, "a run", mode="keep")
    open_file = Table.open

    def open_then_lose(self: Table, path: str) -> Any:
        opened = open_file(self, path)
        note.delete()
        return opened

    with session.session(lake.config.resources) as con:
        con.execute("CREATE TABLE ledger_rows AS SELECT 1 AS size")
        con.execute("CREATE TABLE quarantine_rows AS SELECT 1 AS line")
        note.write(con)
        monkeypatch.setattr(Table, "open", open_then_lose)
        assert not note.read(con)
    note.delete()  # again


def test_the_server_refuses_a_commit_on_a_stale_version(lake: AwsLake) -> None:
    lake.tables.ensure(lake.registry, [])
    glue = boto3.session.Session().client("glue")
    table = {"Name": "compactor_runs", "Parameters": {"by": "another"}}
    seen = glue.get_table(DatabaseName=lake.database, Name="compactor_runs")["Table"]["VersionId"]
    glue.update_table(DatabaseName=lake.database, TableInput=table, VersionId=seen, SkipArchive=True)

    with pytest.raises(ClientError, match="ConcurrentModificationException"):
        glue.update_table(DatabaseName=lake.database, TableInput=table, VersionId=seen, SkipArchive=True)
    glue.close()


def test_athena_finds_the_tables_in_glue(lake: AwsLake) -> None:
    lake.tables.ensure(lake.registry, DATASETS)
    glue = boto3.session.Session().client("glue")
    tables = {table["Name"]: table for table in glue.get_tables(DatabaseName=lake.database)["TableList"]}
    glue.close()

    assert len(tables) == 4 + 3 + 3
    for name, table in tables.items():
        assert table["TableType"] == "EXTERNAL_TABLE"
        assert table["Parameters"]["table_type"] == "ICEBERG"
        folder = f"s3://{lake.lake_bucket}/warehouse/{lake.database}.db/{name}"
        assert table["StorageDescriptor"]["Location"] == folder
        assert table["Parameters"]["metadata_location"].startswith(f"{folder}/metadata/")
        assert all(re.fullmatch("[a-z0-9_]+", column["Name"]) for column in table["StorageDescriptor"]["Columns"])
    types = {column["Name"]: column["Type"] for column in tables["fan_profiles"]["StorageDescriptor"]["Columns"]}
    assert (types["updated_at"], types["traits"]) == ("timestamp", "map<string,string>")


def test_tables_are_read_and_written_by_arrow_with_time_enough(lake: AwsLake) -> None:
    lake.tables.ensure(lake.registry, [])
    storage = lake.tables.table(catalog.RUNS).iceberg.io
    assert type(storage).__name__ == "PyArrowFileIO"
    assert float(storage.properties["s3.connect-timeout"]) >= 5
    assert float(storage.properties["s3.request-timeout"]) >= 30


def policy_of(lake: AwsLake) -> list[Statement]:
    """The policy's statements, filled in as deploy/README.md says."""
    text = POLICY.read_text()
    places = {
        "EXPORT_BUCKET": lake.export_bucket,
        "EXPORT_PREFIX": PREFIX,
        "LAKE_BUCKET": lake.lake_bucket,
        "REGION": "us-east-1",
        "ACCOUNT_ID": ACCOUNT,
        "DATABASE": lake.database,
    }
    for place, value in places.items():
        assert place in text
        text = text.replace(place, value)
    assert not re.search("[A-Z]+_[A-Z]+", text)
    statements: list[Statement] = json.loads(text)["Statement"]
    return statements


def test_the_policy_grants_what_the_verbs_need_and_no_action_more(lake: AwsLake, aws_server: AwsServer) -> None:
    mine = ("fan_profiles",)
    aws_server.calls.clear()
    deliver_first_hour(lake)
    lake.compact(datasets=mine)
    deliver_next_hour(lake)
    lake.compact(datasets=mine, full_scan=True)
    replay(lake.config, lake.registry, datasets=mine, progress=NullProgress())
    status(lake.config, lake.registry)
    verify(lake.config, lake.registry, rebuild=True, files=True)
    with query.query(lake.config, lake.registry, "SELECT count(*) FROM fan_profiles") as reader:
        reader.read_all()
    calls = set(aws_server.calls)

    statements = policy_of(lake)
    assert {call for call in calls if not call.is_allowed_by(statements)} == set()
    granted = {action for statement in statements for action in listed(statement["Action"])}
    # An upload is broken off only where writing fails.
    assert granted - {call.action for call in calls} == {"s3:AbortMultipartUpload"}


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_policy_keeps_the_job_to_its_exports_and_its_tables(lake: AwsLake) -> None:
    exports, tables = f"arn:aws:s3:::{lake.export_bucket}", f"arn:aws:s3:::{lake.lake_bucket}"
    statements = policy_of(lake)

    def allowed(action: str, resource: str, prefix: str | None = None) -> bool:
        return Call(action, resource, "somebody", prefix).is_allowed_by(statements)

    assert allowed("s3:GetObject", f"{exports}/{PREFIX}/exports/fan_profiles/x")
    assert not allowed("s3:GetObject", f"{exports}/{PREFIX}/other")
    assert not allowed("s3:PutObject", f"{exports}/{PREFIX}/exports/fan_profiles/x")
    assert not allowed("s3:DeleteObject", f"{exports}/{PREFIX}/exports/fan_profiles/x")
    assert not allowed("s3:ListBucket", exports, "")
    assert not allowed("s3:PutObject", f"{tables}/warehouse/other.db/x")
    assert not allowed("glue:UpdateTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/other/fan_profiles")
    assert not allowed("glue:DeleteTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/{lake.database}/fan_profiles")


def test_looking_needs_no_right_to_write(lake: AwsLake, aws_server: AwsServer) -> None:
    deliver_first_hour(lake)
    lake.compact(datasets=("fan_profiles",))
    aws_server.denied = {
        *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"),
        *("glue:CreateDatabase", "glue:CreateTable", "glue:UpdateTable"),
    }
    assert status(lake.config, lake.registry).quarantine == {"fan_profiles": {"not_json": 1}}
    assert verify(lake.config, lake.registry, rebuild=True).exit_code == 0
    with query.query(lake.config, lake.registry, "SELECT id FROM fan_profiles") as reader:
        assert reader.read_all().to_pylist() == [{"id": "p1"}]


def test_a_database_that_is_there_is_not_made_again(lake: AwsLake, aws_server: AwsServer) -> None:
    lake.tables.ensure(lake.registry, [])
    aws_server.calls.clear()
    lake.tables.ensure(lake.registry, [])
    assert {call.action for call in aws_server.calls} == {"glue:GetDatabase", "glue:GetTable", "s3:GetObject"}


@pytest.mark.parametrize("given", ["s3.access-key-id", "client.access-key-id", None])
def test_query_signs_with_the_catalogs_key_else_with_the_environments(
    lake: AwsLake,
    aws_server: AwsServer,
    given: str | None,
) -> None:
    lake.tables.ensure(lake.registry, ["fan_profiles"])
    if given:
        own = {given: "own-key", given.replace("access-key-id", "secret-access-key"): "own-secret"}
        lines = "".join(f"    {name}: {value}\n" for name, value in own.items())
        lake.file = lake.folder / "aws.yaml"
        lake.file.write_text(
            CONFIG.read_text().replace("    type: glue", f"{lines}    type: glue") + f"schemas: {SCHEMAS}\n"
        )
    aws_server.calls.clear()

    with query.query(lake.config, lake.registry, "SELECT count(*) AS n FROM fan_profiles") as reader:
        assert reader.read_all().to_pylist() == [{"n": 0}]

    signers = {call.signer for call in aws_server.calls if call.action.startswith("s3:")}
    assert signers == {"own-key" if given else "test-key"}


def test_query_opens_only_the_tables_that_the_statement_names(lake: AwsLake, aws_server: AwsServer) -> None:
    lake.tables.ensure(lake.registry, DATASETS)
    aws_server.calls.clear()
    with query.query(lake.config, lake.registry, "SELECT * FROM fan_track_events") as reader:
        reader.read_all()
    tables = {call.resource.split("/")[2] for call in aws_server.calls if ":table/" in call.resource}
    assert tables == {"fan_track_events"}


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        ("glue:GetDatabase", "cannot make namespace {database}: access denied; grant glue:GetDatabase on the catalog"),
        ("glue:CreateTable", "cannot make table {database}.compactor_files: access denied; grant glue:CreateTable on"),
        (
            "s3:PutObject",
            "cannot make table {database}.compactor_files: access denied; grant s3:PutObject on the tables",
        ),
        (
            "s3:GetObject",
            "cannot make table {database}.compactor_files: access denied; grant s3:GetObject on the tables",
        ),
    ],
)
def test_a_right_that_is_missing_is_named(lake: AwsLake, aws_server: AwsServer, right: str, sentence: str) -> None:
    aws_server.denied = {right}
    with pytest.raises(CompactorError, match=re.escape(sentence.format(database=lake.database))):
        lake.compact()


def test_query_reports_that_the_storage_refuses_without_the_key(
    lake: AwsLake,
    aws_server: AwsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake.tables.ensure(lake.registry, ["fan_profiles"])
    key = Credentials("refused-key", "secret-of-refused-key", None, "us-east-1")
    monkeypatch.setattr(query, "aws_credentials", lambda: key)  # for the SQL engine alone: the catalog has its own
    aws_server.denied = {key.access_key}

    with pytest.raises(CompactorError, match="the tables cannot be opened") as caught:
        query.query(lake.config, lake.registry, "SELECT * FROM fan_profiles")
    assert key.secret_key not in str(caught.value)
    assert key.access_key not in str(caught.value)


EXAMPLES = re.findall("```yaml\n(.*?)```", (ROOT / "docs" / "catalogs.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_catalog_properties_reach_pyiceberg_untouched(
    example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"\$\{(\w+)\}", example):
        monkeypatch.setenv(name, f"value-of-{name}")
    (tmp_path / "config.yaml").write_text(example)
    given: dict[str, str] = {}
    monkeypatch.setattr(catalog, "load_catalog", lambda name, **properties: given.update(properties))

    catalog.Lakehouse(load(tmp_path / "config.yaml"))

    written = yaml.load(example, Loader=yaml.BaseLoader)["catalog"]["properties"]
    due = {name: re.sub(r"\$\{(\w+)\}", r"value-of-\1", value) for name, value in written.items()}
    assert given == {"s3.connect-timeout": "10", "s3.request-timeout": "60"} | due


def test_columns_change_and_change_back_in_glue(lake: AwsLake) -> None:
    fans = Warehouse(lake.tables._catalog, "day")
    snapshot = fans.append(rows(30))
    schema_id, before = fans.table.schema_id, paths(fans.table)
    fans.table.tag("before")
    stale = fans.table
    renamed = columns(tier=TargetColumn("level", "string", False, "tier"), device=new("device", "map"))
    change = {"properties": {"v": "2"}, "summary": {}}
    assert fans.table.reshape(evolved_schema(stale, renamed), [], [], commit_id="rename", **change) is None
    with pytest.raises(ConflictError):
        stale.reshape(evolved_schema(stale, columns()), [], [], commit_id="late", **change)
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
        table.iceberg.schema(),
        table.files,
        lambda reader: reader,
        target_bytes=1 << 30,
        bloom_columns=["id"],
        on_progress=lambda _files, _rows: None,
    )
    table.reshape(table.iceberg.schema(), files, table.files, commit_id="rewrite", **change)
    assert not set(paths(fans.table)) & set(before)
    assert fans.by_arrow(snapshot_id=snapshot) == rows(30)

    fans.table.roll_back("before", schema_id=schema_id, properties={"v": None}, commit_id="back")
    assert fans.by_arrow() == rows(30)
    fans.append(rows(10, 30), "after")
    assert fans.by_arrow() == rows(40)

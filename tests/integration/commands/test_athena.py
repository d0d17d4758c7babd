"""What `verify --athena` finds on real metadata, and views made in Athena: moto's, over HTTP."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.athena.models import athena_backends
from pyiceberg.catalog import load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    FixedType,
    IcebergType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimeType,
    UUIDType,
)

from compactor.commands.verify import athena
from compactor.commands.verify.athena import verify
from compactor.commands.views import athena_client
from compactor.commands.views.views import views
from compactor.errors import CompactorError, UsageError
from compactor.lake import table_facts
from compactor.lake.own_tables import FILES, RUNS
from compactor.reports.report import Check, VerifyReport
from tests.support.aws_lake import AwsLake
from tests.support.fans import Fans
from tests.support.glue_server import ACCOUNT, AwsServer
from tests.support.lake import Lake
from tests.support.s3_server import set_aws_environment

NAMES = ["canonical_fans", "canonical_events", "daily_active_fans"]


def failed(report: VerifyReport) -> dict[tuple[str, str], str]:
    return {(check.name, check.table): check.detail for check in report.checks if not check.ok}


def named(report: VerifyReport, name: str) -> list[Check]:
    return [check for check in report.checks if check.name == name]


@pytest.fixture
def local(tmp_path: Path) -> Lake:
    found = Lake(tmp_path)
    found.deliver("fan_profiles", Fans(2, fans=4).lines("fan_profiles"))
    found.compact(datasets=("fan_profiles",))
    return found


def replaced(lake: Lake, name: str, *fields: tuple[str, IcebergType], partition: str = "") -> None:
    """Puts a table of these columns in the place of one."""
    catalog = load_catalog("rover", **lake.config.catalog_properties())
    catalog.drop_table(f"rover.{name}")
    schema = Schema(*(NestedField(n, each, kind, required=False) for n, (each, kind) in enumerate(fields, 1)))
    spec = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), partition)) if partition else PartitionSpec()
    catalog.create_table(f"rover.{name}", schema, partition_spec=spec)


def test_the_tables_that_compact_makes_are_what_athena_takes(local: Lake) -> None:
    report = verify(local.config, local.registry)

    assert failed(report) == {}
    assert report.exit_code == 0
    assert "not Glue" in named(report, "the entry in Glue")[0].detail
    assert [check.table for check in named(report, "types")] == ["6 tables"]
    files = sum(len(local.tables.table(name).files) for name in ("fan_profiles", "fan_profiles_history", FILES, RUNS))
    assert named(report, "file sizes")[0].detail.startswith(f"{files} files")


@pytest.mark.parametrize(
    ("kind", "path", "says"),
    [
        (TimeType(), "odd", "time"),
        (UUIDType(), "odd", "uuid"),
        (FixedType(8), "odd", "fixed[8]"),
        (ListType(9, UUIDType(), False), "odd.element", "uuid"),
        (MapType(9, StringType(), 10, TimeType(), False), "odd.value", "time"),
        (MapType(9, UUIDType(), 10, LongType(), False), "odd.key", "uuid"),
        (StructType(NestedField(9, "in", ListType(10, FixedType(4), False))), "odd.in.element", "fixed[4]"),
    ],
)
def test_a_type_that_athena_does_not_have_is_found_however_deep(
    local: Lake, kind: IcebergType, path: str, says: str
) -> None:
    replaced(local, "fan_profiles", ("fine", TimestampType()), ("odd", kind))

    report = verify(local.config, local.registry)

    (wrong,) = failed(report).values()
    assert wrong.startswith(f"column '{path}' is a {says}")
    assert report.exit_code == 1


@pytest.mark.parametrize(
    ("name", "partition"), [("Upper", ""), ("with-dash", ""), ("a.b", ""), ("x" * 256, ""), ("fine", "Day Of")]
)
def test_a_name_that_glue_does_not_keep_is_found(local: Lake, name: str, partition: str) -> None:
    replaced(local, "fan_profiles", (name, StringType()), partition=partition)

    assert list(failed(verify(local.config, local.registry))) == [("names", "fan_profiles")]


def test_columns_of_past_schemas_count_for_what_a_commit_sends_to_glue(
    local: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = local.tables.load_iceberg("fan_profiles")
    with table.update_schema() as update:
        update.add_column("was_here", StringType())
    with table.update_schema() as update:
        update.delete_column("was_here")
    schemas = local.tables.load_iceberg("fan_profiles").metadata.schemas
    assert "was_here" in [each["Name"] for each in table_facts.sent_columns(schemas)]

    monkeypatch.setattr(athena, "COLUMNS_BYTES", 100)
    wrong = failed(verify(local.config, local.registry))["columns fit into a request to Glue", "fan_profiles"]
    assert "1 of them past ones" in wrong


def entry(form: str, content: str, spec: int = 0) -> Any:
    file = SimpleNamespace(
        file_format=SimpleNamespace(name=form),
        content=SimpleNamespace(name=content),
        file_size_in_bytes=1,
        partition=spec,
    )
    return SimpleNamespace(data_file=file)


@pytest.mark.parametrize(
    ("entries", "ok", "detail"),
    [
        (
            [("PARQUET", "POSITION_DELETES"), ("PARQUET", "EQUALITY_DELETES")],
            True,
            "1 equality deletes, 1 position deletes",
        ),
        ([("PUFFIN", "POSITION_DELETES")], False, "does not read its 1 deletion vectors"),
    ],
)
def test_delete_files_are_reported_and_deletion_vectors_refused(
    local: Lake, monkeypatch: pytest.MonkeyPatch, entries: list[tuple[str, str]], ok: bool, detail: str
) -> None:
    """Manifests as other engines write them: the library writes no delete file."""
    manifest = SimpleNamespace(
        partition_spec_id=0, fetch_manifest_entry=lambda io, discard_deleted: [entry(*each) for each in entries]
    )
    snapshot = type(local.tables.load_iceberg("fan_profiles").current_snapshot())
    monkeypatch.setattr(snapshot, "manifests", lambda self, io: [manifest])
    monkeypatch.setattr(type(local.tables), "exists", lambda self, name: name == "fan_profiles")

    report = verify(local.config, local.registry)

    assert (report.exit_code == 0) is ok
    name = "delete files" if ok else "no deletion vectors"
    assert detail in named(report, name)[0].detail


def test_tags_are_reported_with_the_snapshot_that_athena_knows_them_by(local: Lake) -> None:
    table = local.tables.load_iceberg("fan_profiles")
    snapshot = table.current_snapshot()
    assert snapshot is not None
    table.manage_snapshots().create_tag(snapshot.snapshot_id, "before").commit()

    (check,) = named(verify(local.config, local.registry), "tags")

    assert check.ok
    assert f"before: FOR VERSION AS OF {snapshot.snapshot_id}" in check.detail


def test_without_a_table_there_is_nothing_to_check(tmp_path: Path) -> None:
    empty = Lake(tmp_path)
    with pytest.raises(CompactorError, match="run `compactor compact` first"):
        verify(empty.config, empty.registry)


@pytest.fixture(scope="module")
def made_on_aws(tmp_path_factory: pytest.TempPathFactory, aws_server: AwsServer) -> Iterator[AwsLake]:
    with pytest.MonkeyPatch.context() as environment:
        set_aws_environment(environment)
        lake = AwsLake(tmp_path_factory.mktemp("athena"), aws_server, environment)
        for dataset in ("fan_profile_merges", "fan_track_events", "fan_profiles"):
            lake.deliver(dataset, Fans(2, fans=4).lines(dataset))
        lake.compact()
        yield lake
        lake.s3.close()


@pytest.fixture
def on_aws(made_on_aws: AwsLake, aws_server: AwsServer) -> Iterator[AwsLake]:
    """One lake for all tests here: a test that changes an entry in Glue restores it."""
    aws_server.calls.clear()
    yield made_on_aws
    aws_server.denied = set()


def test_on_aws_the_entries_in_glue_are_what_athena_looks_for(on_aws: AwsLake) -> None:
    report = verify(on_aws.config, on_aws.registry)

    assert failed(report) == {}
    assert named(report, "the entry in Glue")[0].detail == "ICEBERG, external, at the newest metadata"


def test_an_entry_that_glue_has_otherwise_is_found(on_aws: AwsLake) -> None:
    glue = boto3.session.Session().client("glue")
    found = glue.get_table(DatabaseName=on_aws.database, Name="fan_profiles")["Table"]
    kept = {name: found[name] for name in ("Name", "StorageDescriptor", "Parameters")}
    glue.update_table(DatabaseName=on_aws.database, TableInput=kept | {"TableType": "MANAGED_TABLE"})

    assert list(failed(verify(on_aws.config, on_aws.registry))) == [("the entry in Glue", "fan_profiles")]

    glue.update_table(DatabaseName=on_aws.database, TableInput=kept | {"TableType": found["TableType"]})
    glue.close()


def apply(lake: Lake, *names: str, **options: Any) -> Any:
    return views(lake.config, lake.registry, dialect="athena", names=names, apply=True, **options)


def test_views_are_made_one_after_the_other_each_before_those_that_need_it(
    on_aws: AwsLake, aws_server: AwsServer
) -> None:
    report = apply(on_aws, "daily_active_fans", output=f"s3://{on_aws.lake_bucket}/results/")

    assert [view.name for view in report.views] == NAMES
    assert report.made
    asked = [call for call in aws_server.calls if call.action.startswith("athena:")]
    order = [action for action, _ in itertools.groupby(call.action for call in asked)]
    assert order == ["athena:StartQueryExecution", "athena:GetQueryExecution"] * len(NAMES)
    assert {call.resource.rsplit("/", 1)[-1] for call in asked} == {"primary", "*"}
    queries = [each.query for each in athena_backends[ACCOUNT]["us-east-1"].executions.values()]
    assert [query.split(" AS")[0] for query in queries[-3:]] == [
        f"CREATE OR REPLACE VIEW {on_aws.database}.{name}" for name in NAMES
    ]


def test_a_workgroup_that_is_not_there_is_wrong_usage(on_aws: AwsLake) -> None:
    with pytest.raises(UsageError, match="no workgroup night; name yours with --workgroup"):
        apply(on_aws, "canonical_fans", workgroup="night")


@pytest.mark.parametrize("action", ["StartQueryExecution", "GetQueryExecution"])
def test_a_missing_right_is_named(on_aws: AwsLake, aws_server: AwsServer, action: str) -> None:
    aws_server.denied = {f"athena:{action}"}

    with pytest.raises(CompactorError, match=f"grant athena:{action} on workgroup primary") as error:
        apply(on_aws, "canonical_fans")
    assert error.value.exit_code == 1


def test_a_failed_statement_says_why() -> None:
    assert "grant glue:CreateTable" in athena_client.why_failed(
        "User: arn:aws:iam::1:user/x is not authorized to perform: glue:CreateTable on resource: y"
    )
    assert "s3:PutObject" in athena_client.why_failed("Access denied when writing output: Access Denied")
    assert "line 3:1: mismatched input" in athena_client.why_failed("line 3:1: mismatched input")


def test_results_go_to_a_bucket_or_nowhere(on_aws: AwsLake) -> None:
    with pytest.raises(UsageError, match="--output 'results' should be"):
        apply(on_aws, output="results")

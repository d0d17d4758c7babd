"""Which rights each verb needs on AWS, which keys it signs with, and what it says where a right is missing."""

from __future__ import annotations

import json
import re

import pytest

from compactor.commands import query
from compactor.commands.replay import replay
from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import CompactorError, UsageError
from compactor.progress import NullProgress
from compactor.source.s3 import Credentials
from tests.support.aws_lake import CONFIG, PREFIX, AwsLake, deliver_first_hour, deliver_next_hour
from tests.support.glue_server import ACCOUNT, AwsServer, Call, Statement
from tests.support.histories import DATASETS
from tests.support.lake import ROOT, SCHEMAS

POLICY = ROOT / "deploy" / "iam-policy.json"


def policy_of(aws_lake: AwsLake) -> list[Statement]:
    """The policy's statements, filled in as deploy/README.md says."""
    text = POLICY.read_text()
    places = {
        "EXPORT_BUCKET": aws_lake.export_bucket,
        "EXPORT_PREFIX": PREFIX,
        "LAKE_BUCKET": aws_lake.lake_bucket,
        "REGION": "us-east-1",
        "ACCOUNT_ID": ACCOUNT,
        "DATABASE": aws_lake.database,
    }
    for place, value in places.items():
        assert place in text
        text = text.replace(place, value)
    assert not re.search("[A-Z]+_[A-Z]+", text)
    statements: list[Statement] = json.loads(text)["Statement"]
    return statements


def test_the_policy_grants_what_the_verbs_need_and_no_action_more(aws_lake: AwsLake, aws_server: AwsServer) -> None:
    mine = ("fan_profiles",)
    aws_server.calls.clear()
    deliver_first_hour(aws_lake)
    aws_lake.compact(datasets=mine)
    deliver_next_hour(aws_lake)
    aws_lake.compact(datasets=mine, full_scan=True)
    replay(aws_lake.config, aws_lake.registry, datasets=mine, progress=NullProgress())
    status(aws_lake.config, aws_lake.registry)
    verify(aws_lake.config, aws_lake.registry, rebuild=True, files=True)
    with query.query(aws_lake.config, aws_lake.registry, "SELECT count(*) FROM fan_profiles") as reader:
        reader.read_all()
    calls = set(aws_server.calls)

    statements = policy_of(aws_lake)
    assert {call for call in calls if not call.is_allowed_by(statements)} == set()
    granted = {action for statement in statements for action in listed(statement["Action"])}
    # An upload is broken off only where writing fails.
    assert granted - {call.action for call in calls} == {"s3:AbortMultipartUpload"}


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_the_policy_keeps_the_job_to_its_exports_and_its_tables(aws_lake: AwsLake) -> None:
    exports, tables = f"arn:aws:s3:::{aws_lake.export_bucket}", f"arn:aws:s3:::{aws_lake.lake_bucket}"
    statements = policy_of(aws_lake)

    def allowed(action: str, resource: str, prefix: str | None = None) -> bool:
        return Call(action, resource, "somebody", prefix).is_allowed_by(statements)

    assert allowed("s3:GetObject", f"{exports}/{PREFIX}/exports/fan_profiles/x")
    assert not allowed("s3:GetObject", f"{exports}/{PREFIX}/other")
    assert not allowed("s3:PutObject", f"{exports}/{PREFIX}/exports/fan_profiles/x")
    assert not allowed("s3:DeleteObject", f"{exports}/{PREFIX}/exports/fan_profiles/x")
    assert not allowed("s3:ListBucket", exports, "")
    assert not allowed("s3:PutObject", f"{tables}/warehouse/other.db/x")
    assert not allowed("glue:UpdateTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/other/fan_profiles")
    assert not allowed("glue:DeleteTable", f"arn:aws:glue:us-east-1:{ACCOUNT}:table/{aws_lake.database}/fan_profiles")


def test_looking_needs_no_right_to_write(aws_lake: AwsLake, aws_server: AwsServer) -> None:
    deliver_first_hour(aws_lake)
    aws_lake.compact(datasets=("fan_profiles",))
    aws_server.denied = {
        *("s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"),
        *("glue:CreateDatabase", "glue:CreateTable", "glue:UpdateTable"),
    }
    assert status(aws_lake.config, aws_lake.registry).quarantine == {"fan_profiles": {"not_json": 1}}
    assert verify(aws_lake.config, aws_lake.registry, rebuild=True).exit_code == 0
    with query.query(aws_lake.config, aws_lake.registry, "SELECT id FROM fan_profiles") as reader:
        assert reader.read_all().to_pylist() == [{"id": "p1"}]


def test_a_database_that_is_there_is_not_made_again(aws_lake: AwsLake, aws_server: AwsServer) -> None:
    aws_lake.tables.ensure(aws_lake.registry, [])
    aws_server.calls.clear()
    aws_lake.tables.ensure(aws_lake.registry, [])
    assert {call.action for call in aws_server.calls} == {"glue:GetDatabase", "glue:GetTable", "s3:GetObject"}


def test_query_reads_no_other_place_of_the_bucket_and_shows_no_key(aws_lake: AwsLake) -> None:
    aws_lake.tables.ensure(aws_lake.registry, ["fan_profiles"])
    aws_lake.s3.put_object(Bucket=aws_lake.lake_bucket, Key="warehouse/private.csv", Body=b"name\njane\n")
    for sql in (f"from 's3://{aws_lake.lake_bucket}/warehouse/private.csv'", "from duckdb_secrets()"):
        with pytest.raises(UsageError, match="query"):
            query.query(aws_lake.config, aws_lake.registry, f"{sql}, fan_profiles")
    sql = f"select name from 's3://{aws_lake.lake_bucket}/warehouse/private.csv' left join fan_profiles on true"
    with query.query(aws_lake.config, aws_lake.registry, sql, allow_files=True) as reader:
        assert reader.read_all().to_pylist() == [{"name": "jane"}]


@pytest.mark.parametrize("given", ["s3.access-key-id", "client.access-key-id", None])
def test_query_signs_with_the_catalogs_key_else_with_the_environments(
    aws_lake: AwsLake,
    aws_server: AwsServer,
    given: str | None,
) -> None:
    aws_lake.tables.ensure(aws_lake.registry, ["fan_profiles"])
    if given:
        own = {given: "own-key", given.replace("access-key-id", "secret-access-key"): "own-secret"}
        lines = "".join(f"    {name}: {value}\n" for name, value in own.items())
        aws_lake.file = aws_lake.folder / "aws.yaml"
        aws_lake.file.write_text(
            CONFIG.read_text().replace("    type: glue", f"{lines}    type: glue") + f"schemas: {SCHEMAS}\n"
        )
    aws_server.calls.clear()

    with query.query(aws_lake.config, aws_lake.registry, "SELECT count(*) AS n FROM fan_profiles") as reader:
        assert reader.read_all().to_pylist() == [{"n": 0}]

    signers = {call.signer for call in aws_server.calls if call.action.startswith("s3:")}
    assert signers == {"own-key" if given else "test-key"}


def test_query_opens_only_the_tables_that_the_statement_names(aws_lake: AwsLake, aws_server: AwsServer) -> None:
    aws_lake.tables.ensure(aws_lake.registry, DATASETS)
    aws_server.calls.clear()
    with query.query(aws_lake.config, aws_lake.registry, "SELECT * FROM fan_track_events") as reader:
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
            "cannot load table {database}.compactor_files: access denied; grant s3:GetObject on the tables",
        ),
    ],
)
def test_a_right_that_is_missing_is_named(aws_lake: AwsLake, aws_server: AwsServer, right: str, sentence: str) -> None:
    aws_server.denied = {right}
    with pytest.raises(CompactorError, match=re.escape(sentence.format(database=aws_lake.database))):
        aws_lake.compact()


def test_query_reports_that_the_storage_refuses_without_the_key(
    aws_lake: AwsLake,
    aws_server: AwsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aws_lake.tables.ensure(aws_lake.registry, ["fan_profiles"])
    key = Credentials("refused-key", "secret-of-refused-key", None, "us-east-1")
    monkeypatch.setattr(query, "aws_credentials", lambda: key)  # for the SQL engine alone: the catalog has its own
    aws_server.denied = {key.access_key}

    with pytest.raises(CompactorError, match="the tables cannot be opened") as caught:
        query.query(aws_lake.config, aws_lake.registry, "SELECT * FROM fan_profiles")
    assert key.secret_key not in str(caught.value)
    assert key.access_key not in str(caught.value)

"""The tables are found and read through each catalog that `compact` writes to, the AWS road among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import boto3
import pytest

from compactor.commands.query import query
from tests.engines.catalogs import Found, on_glue, on_nessie, on_postgres
from tests.engines.conftest import BOARD, NewSpark, NewTrino
from tests.engines.limits import LIMITS
from tests.engines.nessie import WAREHOUSE, Nessie
from tests.engines.ready import free_port
from tests.engines.results import Result
from tests.engines.same import assert_all_same
from tests.engines.spark_session import KEY, SECRET
from tests.support.aws_lake import AwsLake
from tests.support.glue_server import AwsServer
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.postgres_server import PostgresServer, postgres_lake

KINDS = ("postgresql", "rest", "glue")
TABLES = ("fan_profiles", "fan_identity_graph", "fan_profile_merges", "fan_track_events")


@pytest.fixture(scope="module", params=KINDS)
def found(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, aws_server: AwsServer
) -> Iterator[Found]:
    """A lake of two nights in the catalog. The environment has the test server's keys, as long as it is in use."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", KEY)
        environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        if request.param == "postgresql":
            yield from _on_postgres(folder)
        elif request.param == "rest":
            yield from _on_nessie(folder, aws_server)
        else:
            lake = AwsLake(folder, aws_server, environment)
            _fill(lake)
            yield on_glue(lake, lake.database, lake.lake_bucket, aws_server.url)
            lake.s3.close()


def _on_postgres(folder: Path) -> Iterator[Found]:
    server = PostgresServer(port=free_port())
    uri = server.new_schema()
    lake = postgres_lake(folder, uri)
    _fill(lake)
    yield on_postgres(lake, server, uri.rpartition("%3D")[2])
    server.remove()


def _on_nessie(folder: Path, aws: AwsServer) -> Iterator[Found]:
    bucket = f"lake-{free_port()}"
    client = boto3.session.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET).client(
        "s3", endpoint_url=aws.url
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    server = Nessie(folder / "nessie", location=f"s3://{bucket}/warehouse", endpoint=aws.url, key=KEY, secret=SECRET)
    properties = {
        "type": "rest",
        "uri": server.uri,
        "warehouse": WAREHOUSE,
        "s3.endpoint": aws.url,
        "s3.region": "us-east-1",
        "s3.access-key-id": KEY,
        "s3.secret-access-key": SECRET,
    }
    given = ", ".join(f"{name}: '{value}'" for name, value in properties.items())
    lake = Lake(folder, settings=f"catalog: {{properties: {{{given}}}}}\n")
    _fill(lake)
    yield on_nessie(lake, server, aws.url)
    server.stop()


def _fill(lake: Lake) -> None:
    history = History(31, entities=30, days=3, replaces=False)
    for _ in range(2):
        for delivery in history.night(150):
            lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
        lake.compact(full_scan=True)


def _kind(request: pytest.FixtureRequest) -> str:
    return f"catalog_{request.node.callspec.params['found']}"


def assert_is_read(lake: Lake, tables: Sequence[tuple[str, Result]]) -> None:
    assert tables
    assert_all_same((table, rows, lake.model.current(table).values()) for table, rows in tables)


def test_trino_reads_through_the_catalog(found: Found, trino: NewTrino, request: pytest.FixtureRequest) -> None:
    engine = trino(found.trino, namespace=found.namespace)
    check = _kind(request)
    with BOARD.check("trino", check, LIMITS.get(("trino", check))):
        assert_is_read(found.lake, [(table, engine.ask(f"SELECT * FROM {table}")) for table in _tables(found)])
    if check == "catalog_glue":
        engine.query("CREATE VIEW event_names AS SELECT event, count(*) AS events FROM fan_track_events GROUP BY event")
        rows = found.lake.model.current("fan_track_events")
        assert sum(count for _, count in engine.query("SELECT * FROM event_names")) == len(rows)


@pytest.mark.parametrize("version", ["spark35", "spark41"])
def test_spark_reads_through_the_catalog(found: Found, version: str, request: pytest.FixtureRequest) -> None:
    spark: NewSpark = request.getfixturevalue(version)
    engine = spark(found.spark, namespace=found.namespace)
    check = _kind(request)
    with BOARD.check(version, check, LIMITS.get((version, check))):
        assert_is_read(found.lake, [(table, engine.ask(f"SELECT * FROM {table}")) for table in _tables(found)])


def test_the_query_verb_and_pyiceberg_read_through_the_catalog(found: Found, request: pytest.FixtureRequest) -> None:
    lake, check = found.lake, _kind(request)
    with BOARD.check("duckdb", check, None):
        for table in _tables(found):
            rows = query(lake.config, lake.registry, f"SELECT id FROM {table}").read_all().to_pylist()
            assert sorted(row["id"] for row in rows) == sorted(
                str(row["id"]) for row in lake.model.current(table).values()
            )
    for other in ("polars", "chdb", "sail", "daft"):  # given a metadata file on this machine elsewhere, nothing here
        BOARD.cells[check, other] = "not tried"
    with BOARD.check("pyiceberg", check, None):
        lake.assert_equals_model(_tables(found))


def _tables(found: Found) -> list[str]:
    return [table for table in TABLES if found.lake.tables.exists(table)]

"""The views in the engines that they are written for: each answers as `compactor query` does on the same tables.

Trino reads through Glue and S3 (moto's, over HTTP) tables that `configs/aws.yaml` made, as Athena would, and runs
Athena's statements too. Spark reads the embedded catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compactor.commands.query import query
from compactor.commands.views.views import views
from compactor.errors import CompactorError
from compactor.views import definition
from tests.engines import spark_session, trino_server
from tests.engines.results import EngineError
from tests.engines.spark_session import Spark
from tests.engines.trino_server import Trino
from tests.support.aws_lake import AwsLake
from tests.support.fans import Fans, comparable
from tests.support.glue_server import OWNER, AwsServer
from tests.support.lake import ROOT, Lake

FOLDER = ROOT / "configs" / "views"
NAMES = definition.names(FOLDER)


def filled(lake: Lake, fans: Fans) -> Lake:
    for dataset in fans.records:
        lines = fans.lines(dataset)
        lake.deliver(dataset, lines[::2], part="a")
        lake.deliver(dataset, [*lines[1::2], lines[0]], part="b", hour="2026-11-02T05")
    lake.compact()
    return lake


def here(lake: Lake, sql: str) -> list[str]:
    reader = query(lake.config, lake.registry, sql)
    return comparable(row for batch in reader for row in batch.to_pylist(maps_as_pydicts="strict"))


def there(engine: Trino | Spark, sql: str) -> list[str]:
    return comparable(engine.ask(sql).dicts)


def asks(lake: Lake, dialect: Any) -> dict[str, str]:
    return {view.name: view.ask for view in views(lake.config, lake.registry, dialect=dialect).views}


def unqualified(sql: str, lake: Lake) -> str:
    return sql.replace(f"{lake.config.namespace}.", "")


@pytest.fixture(scope="module")
def glue_lake(tmp_path_factory: pytest.TempPathFactory, aws_server: AwsServer) -> Iterator[AwsLake]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", OWNER)
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        environment.setenv("AWS_REGION", "us-east-1")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        lake = AwsLake(tmp_path_factory.mktemp("aws"), aws_server, environment)
        filled(lake, Fans(6))
        yield lake
        lake.s3.close()


@pytest.fixture(scope="module")
def through_glue(glue_lake: AwsLake, aws_server: AwsServer, trino: Any) -> Iterator[Trino]:
    keys = {"aws-access-key": OWNER, "aws-secret-key": "test-secret"}
    engine = trino(
        {
            "iceberg.catalog.type": "glue",
            "hive.metastore.glue.region": "us-east-1",
            "hive.metastore.glue.endpoint-url": aws_server.url,
            "fs.native-s3.enabled": "true",
            "s3.endpoint": aws_server.url,
            "s3.region": "us-east-1",
            "s3.path-style-access": "true",
            **{f"{of}.{name}": key for of in ("hive.metastore.glue", "s3") for name, key in keys.items()},
        },
        namespace=glue_lake.database,
    )
    yield engine
    engine.drop()


@pytest.fixture(scope="module")
def in_trino(glue_lake: AwsLake, through_glue: Trino) -> Trino:
    """Its views made as people make them."""
    server = f"http://test@{through_glue.host}/{through_glue.catalog}"
    report = views(glue_lake.config, glue_lake.registry, dialect="trino", apply=True, server=server)
    assert sorted(view.name for view in report.views) == NAMES
    return through_glue


@pytest.mark.parametrize("name", NAMES)
def test_trino_through_glue_answers_as_the_query_verb_does(glue_lake: AwsLake, in_trino: Trino, name: str) -> None:
    expected = here(glue_lake, f"SELECT * FROM {name}")

    assert expected
    assert there(in_trino, f"SELECT * FROM {name}") == expected


@pytest.mark.parametrize("name", NAMES)
def test_trino_can_be_asked_as_the_files_show(glue_lake: AwsLake, in_trino: Trino, name: str) -> None:
    expected = here(glue_lake, unqualified(asks(glue_lake, "duckdb")[name], glue_lake))

    assert there(in_trino, asks(glue_lake, "trino")[name]) == expected


def test_the_statements_for_athena_run_in_trino_and_answer_the_same(glue_lake: AwsLake, in_trino: Trino) -> None:
    """The nearest to Athena that can be run here. Its views have times without a zone; they are the same times."""
    report = views(glue_lake.config, glue_lake.registry, dialect="athena")
    try:
        for view in report.views:
            in_trino.query(view.create)
            found = in_trino.ask(f"SELECT * FROM {view.name}")
            assert not [kind for kind in found.types if "time zone" in kind], view.name
            assert comparable(found.dicts) == here(glue_lake, f"SELECT * FROM {view.name}"), view.name
            in_trino.query(view.ask)
    finally:
        for view in views(glue_lake.config, glue_lake.registry, dialect="trino").views:
            in_trino.query(view.create)


def test_each_statement_of_the_page_runs_in_trino(glue_lake: AwsLake, in_trino: Trino) -> None:
    page = (ROOT / "docs" / "views.md").read_text()
    statements = [
        each for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) for each in re.split(r";[^\n]*\n", block)
    ]
    snapshot = glue_lake.tables.table("fan_profiles_history").snapshot_id
    ran = 0
    for statement in filter(str.strip, statements):
        in_trino.query(re.sub(r"(FOR VERSION AS OF) \d+", rf"\1 {snapshot}", statement))
        ran += 1
    assert ran > 10


def test_what_trino_refuses_is_a_sentence(sqlite_lake: Lake, through_glue: Trino) -> None:
    server = f"http://test@{through_glue.host}/{through_glue.catalog}"  # a catalog of another namespace
    with pytest.raises(CompactorError, match=r"view 'canonical_fans': Trino refused it: .*rover"):
        views(sqlite_lake.config, sqlite_lake.registry, dialect="trino", apply=True, server=server)


@pytest.mark.parametrize("name", ["daily_active_fans", "canonical_events"])
def test_trino_opens_the_files_of_the_asked_day_alone(in_trino: Trino, name: str) -> None:
    plan = in_trino.query(f"EXPLAIN SELECT * FROM {name} WHERE day = DATE '2026-11-02'")[0][0]

    assert "constraint on [occurred_at]" in plan
    assert "[[2026-11-02 00:00:00.000000 UTC, 2026-11-03 00:00:00.000000 UTC)]" in plan


def test_between_two_snapshots_lie_the_records_that_came_and_no_other(tmp_path: Path, trino: Any) -> None:
    """The exact extraction of docs/views.md."""
    lake, fans = Lake(tmp_path, settings=f"views: {FOLDER}\n"), Fans(8, fans=8)
    lines = fans.lines("fan_profiles")
    ids = [record["id"] for record in fans.records["fan_profiles"]]
    lake.deliver("fan_profiles", lines[:10], part="a")
    lake.compact()
    before = lake.tables.table("fan_profiles_history").snapshot_id
    lake.deliver("fan_profiles", lines[5:], part="b")
    lake.compact()
    after = lake.tables.table("fan_profiles_history").snapshot_id
    engine = trino(trino_server.sqlite_catalog(lake.folder / "warehouse"))

    found = engine.query(
        f"SELECT id FROM fan_profiles_history FOR VERSION AS OF {after}"
        f" WHERE id NOT IN (SELECT id FROM fan_profiles_history FOR VERSION AS OF {before})"
    )

    assert sorted(id_ for (id_,) in found) == sorted(ids[10:])
    engine.drop()


@pytest.fixture(scope="module")
def sqlite_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return filled(Lake(tmp_path_factory.mktemp("views"), settings=f"views: {FOLDER}\n"), Fans(6))


@pytest.mark.parametrize("version", ["spark35", "spark41"])
def test_spark_answers_as_the_query_verb_does(
    sqlite_lake: Lake, version: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    spark: Spark = request.getfixturevalue(version)(spark_session.sqlite_catalog(sqlite_lake.folder / "warehouse"))
    spark_asks, own_asks = asks(sqlite_lake, "spark"), asks(sqlite_lake, "duckdb")
    for view in views(sqlite_lake.config, sqlite_lake.registry, dialect="spark").views:
        spark.query(view.create)
        expected = here(sqlite_lake, f"SELECT * FROM {view.name}")
        assert there(spark, f"SELECT * FROM {view.name}") == expected, view.name
        assert there(spark, spark_asks[view.name]) == here(sqlite_lake, unqualified(own_asks[view.name], sqlite_lake))
    spark.query("SET spark.sql.session.timeZone = America/New_York")
    found = spark.query("SELECT id, CAST(day AS STRING) FROM canonical_events")
    days = here(sqlite_lake, "SELECT id, day::VARCHAR AS day FROM canonical_events")
    assert comparable({"id": id_, "day": day} for id_, day in found) == days, "a day is UTC's in any session"
    spark.query("SET spark.sql.session.timeZone = UTC")


def test_on_a_catalog_that_both_share_a_view_is_of_the_engine_that_made_it(
    tmp_path: Path, trino: Any, spark41: Any
) -> None:
    lake = filled(Lake(tmp_path, settings=f"views: {FOLDER}\n"), Fans(1, fans=3))
    warehouse = lake.folder / "warehouse"
    shared = trino_server.sqlite_catalog(warehouse) | {"iceberg.jdbc-catalog.schema-version": "V1"}
    name = "fan_profiles_periods"
    of_trino, of_spark = (
        views(lake.config, lake.registry, dialect=dialect, names=(name,)).views[0] for dialect in ("trino", "spark")
    )
    engine = trino(shared)
    engine.query(of_trino.create)
    spark = spark41(spark_session.sqlite_catalog(warehouse))

    with pytest.raises(EngineError, match="loss of view dialects"):
        spark.query(of_spark.create)
    engine.query(f"DROP VIEW {name}")
    spark.query(of_spark.create)
    assert there(spark, f"SELECT * FROM {name}") == here(lake, f"SELECT * FROM {name}")
    engine.drop()

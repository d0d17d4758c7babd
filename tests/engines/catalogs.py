"""Lakes in each kind of catalog, and the settings by which Trino and Spark find it."""

from __future__ import annotations

from dataclasses import dataclass

from tests.engines.nessie import WAREHOUSE, Nessie
from tests.engines.spark_session import KEY, SECRET
from tests.support.lake import Lake
from tests.support.postgres_server import PostgresServer

TRINO_S3 = {
    "fs.native-s3.enabled": "true",
    "s3.region": "us-east-1",
    "s3.path-style-access": "true",
    "s3.aws-access-key": KEY,
    "s3.aws-secret-key": SECRET,
}
SPARK_S3 = {
    "io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
    "client.region": "us-east-1",
    "s3.path-style-access": "true",
    "s3.access-key-id": KEY,
    "s3.secret-access-key": SECRET,
}


@dataclass(frozen=True)
class Found:
    """A lake, its namespace, and the properties of a catalog of Trino and of Spark."""

    lake: Lake
    namespace: str
    trino: dict[str, str]
    spark: dict[str, str]


def on_postgres(lake: Lake, server: PostgresServer, schema: str) -> Found:
    url = f"jdbc:postgresql://127.0.0.1:{server.port}/postgres?currentSchema={schema}"
    return Found(
        lake,
        "rover",
        trino={
            "iceberg.catalog.type": "jdbc",
            "iceberg.jdbc-catalog.catalog-name": "rover",
            "iceberg.jdbc-catalog.driver-class": "org.postgresql.Driver",
            "iceberg.jdbc-catalog.connection-url": url,
            "iceberg.jdbc-catalog.connection-user": "postgres",
            "iceberg.jdbc-catalog.default-warehouse-dir": f"file://{lake.folder}/tables",
            "fs.hadoop.enabled": "true",
        },
        spark={
            "type": "jdbc",
            "uri": url,
            "jdbc.user": "postgres",
            "jdbc.schema-version": "V1",
            "warehouse": f"file://{lake.folder}/tables",
        },
    )


def on_nessie(lake: Lake, server: Nessie, endpoint: str) -> Found:
    return Found(
        lake,
        "rover",
        trino=TRINO_S3
        | {
            "iceberg.catalog.type": "rest",
            "iceberg.rest-catalog.uri": server.uri,
            "iceberg.rest-catalog.warehouse": WAREHOUSE,
            "s3.endpoint": endpoint,
        },
        spark=SPARK_S3 | {"type": "rest", "uri": server.uri, "warehouse": WAREHOUSE, "s3.endpoint": endpoint},
    )


def on_glue(lake: Lake, database: str, bucket: str, endpoint: str) -> Found:
    return Found(
        lake,
        database,
        trino=TRINO_S3
        | {
            "iceberg.catalog.type": "glue",
            "hive.metastore.glue.region": "us-east-1",
            "hive.metastore.glue.endpoint-url": endpoint,
            "hive.metastore.glue.aws-access-key": KEY,
            "hive.metastore.glue.aws-secret-key": SECRET,
            "s3.endpoint": endpoint,
        },
        spark=SPARK_S3
        | {"type": "glue", "glue.endpoint": endpoint, "s3.endpoint": endpoint, "warehouse": f"s3://{bucket}/warehouse"},
    )

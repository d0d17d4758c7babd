"""What a Spark session is started with. What it then does is in `tests/engines`."""

from __future__ import annotations

import subprocess

import pytest

from compactor.engines.spark.session import packages, starting_apart, storage_settings
from compactor.errors import UsageError


def test_tables_in_s3_need_the_bundle_of_aws_and_others_do_not() -> None:
    runtime = "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.2"
    assert packages("3.5.9", {"warehouse": "file:///lake"}) == [runtime]
    assert packages("3.5.1", {"warehouse": "s3://lake"}) == [runtime, "org.apache.iceberg:iceberg-aws-bundle:1.10.2"]
    assert packages("4.1.1", {})[0].endswith("4.1_2.13:1.11.0")


def test_a_spark_that_no_runtime_is_known_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no Iceberg runtime is known for Spark 3.4.2; install one of 3.5, 4.0, 4.1"):
        packages("3.4.2", {})


def test_the_storage_is_reached_as_the_catalog_says() -> None:
    mine = "spark.sql.catalog.compactor"
    assert storage_settings({"warehouse": "s3://lake", "client.region": "eu-west-1"}) == {
        f"{mine}.client.region": "eu-west-1"
    }
    found = storage_settings(
        {"s3.endpoint": "http://s3", "s3.access-key-id": "a", "client.secret-access-key": "b", "uri": "not for Spark"}
    )
    assert found == {
        f"{mine}.s3.endpoint": "http://s3",
        f"{mine}.s3.path-style-access": "true",
        f"{mine}.s3.access-key-id": "a",
        f"{mine}.s3.secret-access-key": "b",
    }


def test_what_is_started_apart_writes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with starting_apart():
        subprocess.run(["echo", "downloading"], check=True)
    subprocess.run(["echo", "result"], check=True)
    assert capfd.readouterr() == ("result\n", "downloading\n")

"""Each engine starts and reads a table that `compactor compact` wrote."""

from __future__ import annotations

import json

import pytest

from tests.engines import spark_session, trino_server
from tests.engines.conftest import NewSpark, NewTrino
from tests.support.lake import Lake


@pytest.fixture(scope="module")
def small_lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake"))
    record = {
        "id": "r1",
        "version": 1,
        "roverID": "fan-1",
        "emittedAt": "2026-11-01T05:00:00.000001Z",
        "updatedAt": "1969-12-31T23:59:59.999999Z",
        "traits": {"loyaltyTier": "gold", "nothing": None},
    }
    lake.deliver("fan_profiles", [json.dumps(record).encode()])
    lake.compact()
    return lake


QUERY = "SELECT rover_id, updated_at, traits['loyaltyTier'] FROM fan_profiles"


def test_trino_reads_the_embedded_catalog(small_lake: Lake, trino: NewTrino) -> None:
    engine = trino(trino_server.sqlite_catalog(small_lake.folder / "warehouse"))
    expected = small_lake.model.current("fan_profiles")["fan-1",]
    assert engine.query(QUERY) == [("fan-1", expected["updated_at"], "gold")]


@pytest.mark.parametrize("version", ["3.5", "4.1"])
def test_spark_reads_the_embedded_catalog(version: str, small_lake: Lake, request: pytest.FixtureRequest) -> None:
    spark: NewSpark = request.getfixturevalue(f"spark{version.replace('.', '')}")
    engine = spark(spark_session.sqlite_catalog(small_lake.folder / "warehouse"))
    expected = small_lake.model.current("fan_profiles")["fan-1",]
    assert engine.query(QUERY) == [("fan-1", expected["updated_at"], "gold")]

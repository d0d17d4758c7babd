"""A night on which all goes wrong at once: what is sound is loaded, and the report says how to repair the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pyiceberg.types import StringType

from compactor.cli.main import program
from compactor.lake.own_tables import FILES
from tests.support.damage import cut, drop
from tests.support.histories import DATASETS, History, deliver
from tests.support.lake import KEYS, SCHEMAS, Lake

UNKNOWN = "fan_scores"
DROPPED, DAMAGED = "fan_profile_merges_history", "fan_identity_graph"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    monkeypatch.setitem(KEYS, UNKNOWN, ("rover_id",))
    return Lake(tmp_path, schemas=tmp_path / "schemas")


def run(lake: Lake, *words: str) -> tuple[int, Any]:
    """The exit code of a command, and its JSON."""
    done = CliRunner().invoke(program, ["-c", str(lake.file), *words, "--json"])
    return done.exit_code, json.loads(done.stdout)


def deliver_each(lake: Lake, history: History) -> None:
    """An object of 40 new records for each dataset."""
    waiting = set(DATASETS)
    while waiting:
        delivery = history.of_kind("new", 40)
        if delivery.dataset in waiting:
            waiting.remove(delivery.dataset)
            deliver(lake, delivery)


def score(number: int) -> bytes:
    record = {"id": f"s{number}", "version": 1, "roverID": f"fan-{number % 7}", "points": number}
    times = {"emittedAt": "2026-11-01T04:00:00Z", "updatedAt": f"2026-11-01T0{number % 9}:00:00Z"}
    return json.dumps(record | times).encode()


def test_a_night_with_all_kinds_of_damage_loads_the_rest_and_its_steps_lead_to_a_sound_lake(lake: Lake) -> None:
    history = History(5, entities=12, replaces=False)
    deliver_each(lake, history)
    assert run(lake, "compact")[0] == 0

    drop(lake, DROPPED)
    cut(next((lake.folder / "warehouse" / "rover" / DAMAGED / "data").rglob("*.parquet")))
    for name in ("fan_profiles", FILES):
        with lake.catalog.load_table(f"rover.{name}").update_schema() as update:
            update.add_column("segment", StringType())
    deliver_each(lake, history)
    lake.deliver_unmodelled(UNKNOWN, [score(number) for number in range(60)])
    broken = lake.deliver_unmodelled("fan_track_events", [], part="broken", raw=b"\x1f\x8b\x08 no gzip at all")

    code, report = run(lake, "compact")
    assert code == 1
    loaded = {each["dataset"]: each["new"] for each in report["datasets"]}
    assert (loaded["fan_profiles"], loaded["fan_track_events"]) == (40, 40)
    assert [each["key"] for part in report["datasets"] for each in part["failed"]] == [broken]
    problems = {each["subject"]: f"{each['wrong']}; {each['step']}" for each in report["problems"]}
    assert set(problems) == {"fan_identity_graph", "fan_profile_merges", UNKNOWN}
    assert "is damaged; run `compactor verify --repair`" in problems["fan_identity_graph"]
    assert "the table is gone from the catalog" in problems["fan_profile_merges"]
    assert "`compactor verify --repair`" in problems["fan_profile_merges"]
    assert f"`compactor infer --dataset {UNKNOWN}`" in problems[UNKNOWN]
    assert run(lake, "status")[0] == 1

    assert run(lake, "verify", "--repair")[0] == 1
    assert run(lake, "verify", "--repair", "--yes")[0] == 0
    assert run(lake, "acknowledge", "--object", broken, "--because", "Rover has no other copy")[0] == 0
    assert run(lake, "infer", "--dataset", UNKNOWN, "--out", str(lake.folder / "schemas"))[0] == 0

    code, report = run(lake, "compact")
    assert (code, report["problems"]) == (0, [])
    assert {each["dataset"]: each["new"] for each in report["datasets"]}[UNKNOWN] == 60
    code, report = run(lake, "verify", "--rebuild", "--files")
    assert code == 0, [check for check in report["checks"] if not check["ok"]]
    assert run(lake, "status")[0] == 0
    for row in lake.rows("fan_profiles"):
        assert row.pop("segment") is None
    for dataset in DATASETS:
        assert lake.history(dataset).keys() == lake.model.history(dataset).keys()

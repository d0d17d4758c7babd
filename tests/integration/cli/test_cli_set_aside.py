"""The command line of `acknowledge` and `relocate`: what it hands on, refuses and prints. The verbs are fakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from compactor import api
from compactor.reports.acknowledgement import Acknowledgement, AcknowledgeReport
from compactor.reports.relocation import RelocateReport, TableRelocation
from tests.support.fake_verbs import Lake, invoke

pytestmark = pytest.mark.usefixtures("logging_restored")

AT = datetime(2026, 11, 24, 4, 5, tzinfo=UTC)
KEY = "exports/fan_profiles/date=2026-11-01/hour=05/fan_profiles-20261101T050000Z-part-a.ndjson.gz"
OBJECT = Acknowledgement("fan_profiles", 0, KEY, None, f"{KEY}: is truncated", "lost", "run-1", AT)
LINES = Acknowledgement("fan_profiles", 1200, None, None, "not_json", "never [red]JSON", "run-2", AT)
DONE = AcknowledgeReport("acknowledged", 1, 1200, 2, (OBJECT, LINES))
Called = list[tuple[tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def answered(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Called]:
    """Replaces a method of the API by one that answers, and keeps how it was called."""

    def answer(method: str, report: Any) -> Called:
        calls: Called = []

        def fake(_lake: api.Lake, *args: Any, **options: Any) -> Any:
            calls.append((args, options))
            return report

        monkeypatch.setattr(api.Lake, method, fake)
        return calls

    return answer


def test_acknowledge_hands_on_what_was_named_and_shows_what_was_done(answered: Callable[[str, Any], Called]) -> None:
    calls = answered("acknowledge", DONE)
    result = invoke("acknowledge", "--dataset", "a", "--object", KEY, "--line", "3", "--because", "lost")
    assert result.exit_code == 0
    assert calls == [((("a",),), {"objects": (KEY,), "line": 3, "reasons": (), "because": "lost"})]
    assert "1 object, 1,200 lines acknowledged, 2 before" in result.stdout
    assert "1,200 lines of several objects" in result.stdout
    assert "never [red]JSON" in result.stdout
    found = json.loads(invoke("acknowledge", "--reason", "not_json", "--because", "x", "--json").stdout)
    assert (found["action"], found["objects"], found["entries"][0]["key"]) == ("acknowledged", 1, KEY)


def test_acknowledge_lists_and_takes_back(answered: Callable[[str, Any], Called]) -> None:
    listed = answered("acknowledged", AcknowledgeReport("listed", 0, 0))
    undone = answered("acknowledge_undo", AcknowledgeReport("undone", 1, 0, 0, (OBJECT,)))
    assert invoke("acknowledge", "--list").stdout == "nothing is acknowledged\n"
    assert "1 object, 0 lines no longer acknowledged" in invoke("acknowledge", "--undo", "--object", KEY).stdout
    assert listed == [(((),), {})]
    assert undone == [(((),), {"objects": (KEY,), "line": None, "reasons": ()})]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--object", KEY], "--because is needed"),
        (["--list", "--object", KEY], "--list shows what is acknowledged"),
        (["--undo", "--because", "x", "--object", KEY], "--undo needs no --because"),
    ],
)
@pytest.mark.usefixtures("lake")
def test_options_that_contradict_each_other_are_wrong_usage(words: list[str], says: str) -> None:
    result = invoke("acknowledge", *words)
    assert (result.exit_code, says in result.stderr) == (2, True)


def test_relocate_shows_each_table_and_the_next_step(answered: Callable[[str, Any], Called]) -> None:
    table = TableRelocation("fan_profiles", "relocate", "s3://a/w/t", "s3://b/w/t", 3, 1200, 4_500_000, 7, 20_000)
    there = TableRelocation("compactor_runs", "in place")
    calls = answered("relocate_plan", RelocateReport("s3://a/w", "s3://b/w", (there, table)))
    answered("relocate_apply", RelocateReport("s3://a/w", "s3://b/w", (there, table), done=True))

    plan = invoke("relocate", "plan", "--from", "s3://a/w", "--to", "s3://b/w")

    assert calls == [((), {"source": "s3://a/w", "target": "s3://b/w", "allow_missing": False})]
    assert plan.exit_code == 0
    assert "fan_profiles  relocate          3  1,200  4.5         7          0.0" in plan.stdout
    assert "1 table already at the new place: compactor_runs" in plan.stdout
    assert plan.stdout.endswith("relocate apply\n")
    assert "verify --rebuild --files" in invoke("relocate", "apply").stdout


def test_what_is_missing_or_wrong_is_named_and_ends_with_1(answered: Callable[[str, Any], Called]) -> None:
    lacking = TableRelocation("fan_profiles", "relocate", missing=2, differing=1, examples=("s3://b/w/t/x",))
    answered("relocate_apply", RelocateReport("s3://a/w", "s3://b/w", (lacking,), refused=True))
    result = invoke("relocate", "apply")
    assert result.exit_code == 1
    assert "fan_profiles: 2 files missing, 1 of another size, such as s3://b/w/t/x" in result.stdout
    assert "copy what is missing, then run again" in result.stdout
    assert "relocate apply --allow-missing" in result.stdout
    wrong = TableRelocation("fan_profiles", "relocate", problems=("its format version is 3; move it by another tool",))
    answered("relocate_plan", RelocateReport("s3://a/w", "s3://b/w", (wrong,), allow_missing=True))
    plan = invoke("relocate", "plan", "--json")
    assert (plan.exit_code, json.loads(plan.stdout)["tables"][0]["problems"]) == (1, [*wrong.problems])

"""Reports and rows as people see them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from compactor.cli import render
from compactor.reports.report import (
    Acknowledged,
    Check,
    DatasetReport,
    PendingObjects,
    Problem,
    Repair,
    RunReport,
    StatusReport,
    TableStatus,
    VerifyReport,
)

START = datetime(2026, 11, 24, 4, 5, tzinfo=UTC)


@pytest.fixture
def shown() -> Callable[[Any], list[str]]:
    def show(report: Any) -> list[str]:
        out = io.StringIO()
        render.show(report, Console(file=out, width=100, force_terminal=False, highlight=False))
        return [line.rstrip() for line in out.getvalue().splitlines()]

    return show


Shown = Callable[[Any], list[str]]


def run(*datasets: DatasetReport, seconds: float = 4) -> RunReport:
    return RunReport("run-1", START, START + timedelta(seconds=seconds), datasets)


def test_a_run_has_a_line_for_each_dataset_and_their_sum(shown: Shown) -> None:
    profiles = DatasetReport("fan_profiles", 2, 1000, 900, 100, 0, raw_bytes=30_000_000, seconds=2)
    events = DatasetReport("fan_track_events", 3, 200_000, 200_000, 0, 0, raw_bytes=50_000_000, seconds=2)
    assert shown(run(profiles, events)) == [
        "run run-1",
        "dataset           files    lines      new  duplicates  quarantined  MB/s",
        "------------------------------------------------------------------------",
        "fan_profiles          2    1,000      900         100            0  15.0",
        "fan_track_events      3  200,000  200,000           0            0  25.0",
        "total                 5  201,000  200,900         100            0  20.0",
    ]


def test_a_run_without_work_says_so(shown: Shown) -> None:
    assert shown(run(DatasetReport("fan_profiles"))) == ["run run-1", "nothing to do"]


def test_a_skipped_run_names_the_run_in_progress(shown: Shown) -> None:
    left = RunReport("run-1", START, START, left_to="run-0")
    assert shown(left) == ["run run-1", "skipped, because run run-0 is in progress; nothing was done"]


def test_ignored_objects_are_reported_even_if_there_was_nothing_to_do(shown: Shown) -> None:
    lines = shown(run(DatasetReport("fan_profiles", ignored=2)))
    assert lines[-1] == "2 objects ignored: the key does not match the key pattern of an export"


def test_quarantined_lines_come_with_the_commands_to_run_next(shown: Shown) -> None:
    lines = shown(run(DatasetReport("fan_profiles", 1, 5, 4, 0, 1)))
    sql = "select dataset, reason, count(*) from compactor_quarantine group by all"
    assert lines[-3:] == [
        "1 line quarantined; nothing is lost:",
        f'  to see why:                   compactor query "{sql}"',
        "  after fixing the registry:    compactor replay",
    ]


def test_lines_that_no_registry_can_read_are_not_offered_to_replay(shown: Shown) -> None:
    text = "\n".join(shown(run(DatasetReport("fan_profiles", 1, 5, 2, 0, 3, beyond_replay=3))))
    assert "3 lines quarantined:\n" in text
    assert "replay\n" not in text
    assert text.endswith("no replay can read 3 lines (not JSON, not UTF-8, too long): have them delivered again")
    text = "\n".join(shown(run(DatasetReport("fan_profiles", 1, 5, 2, 0, 3, beyond_replay=1))))
    assert "  after fixing the registry:    compactor replay\n" in text
    assert "no replay can read 1 line " in text


def test_the_commands_to_run_next_name_the_config_of_the_run() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=False, highlight=False)
    render.show(run(DatasetReport("fan_profiles", 1, 5, 4, 0, 1)), console, command="compactor -c a.yaml")
    assert "compactor -c a.yaml replay" in out.getvalue()


def test_what_was_acknowledged_is_one_line_and_asks_for_nothing(shown: Shown) -> None:
    report = run(DatasetReport("fan_profiles", 1, 5, 4, 0, 1, acknowledged_lines=1, acknowledged_objects=2))
    assert report.exit_code == 0
    assert shown(report)[-1] == "2 objects, 1 line acknowledged; to see them:   compactor acknowledge --list"
    assert run(DatasetReport("fan_profiles", 1, 5, 3, 0, 2, acknowledged_lines=1)).exit_code == 3


def test_objects_left_pending_are_listed_with_their_reasons_up_to_ten(shown: Shown) -> None:
    failed = tuple((f"exports/{number}", "its gzip is cut short; deliver it again") for number in range(12))
    lines = shown(run(DatasetReport("fan_profiles", failed=failed)))
    assert "12 objects left pending; the next run tries again:" in lines
    assert "  exports/9: its gzip is cut short; deliver it again" in lines
    assert lines[-1] == "  and 2 more; --json lists them all"


def test_a_reason_that_names_its_key_does_not_name_it_twice(shown: Shown) -> None:
    lines = shown(run(DatasetReport("fan_profiles", failed=(("exports/a", "cannot read exports/a: denied"),))))
    assert lines[-1] == "  cannot read exports/a: denied"


def test_status_shows_each_part(shown: Shown) -> None:
    def row(run: str, dataset: str, **counts: Any) -> dict[str, Any]:
        none = dict.fromkeys(("listed", "objects", "lines", "new", "quarantined", "failed_objects"), 0)
        about = {
            "run_id": run,
            "dataset": dataset,
            "verb": "compact",
            "started_at": START,
            "failures": [],
            "error": None,
        }
        return about | none | counts

    report = StatusReport(
        tables=(
            TableStatus("fan_profiles", 1200, START, 3, 4_500_000, 8834834834834834834),
            TableStatus("fan_track_events", 0, None, 0, 0, None),
        ),
        pending={"fan_profiles": PendingObjects(2, 3_000_000), "fan_track_events": PendingObjects(0, 0)},
        runs=(
            row("run-2", "fan_profiles", listed=3, failed_objects=1, failures=[{"key": "exports/k", "reason": "cut"}]),
            row("run-2", "fan_track_events", error="its table is gone; restore it"),
            row("run-2", "other", listed=4),
            row("run-1", "fan_profiles", listed=2, objects=2, lines=1000, new=900, quarantined=1),
            row("run-1", "fan_track_events"),
            row("run-1", "other"),
            row("run-0", "fan_profiles", listed=None),
        ),
        quarantine={"fan_profiles": {"not_json": 3}},
        acknowledged={"fan_profiles": Acknowledged(1, {"not_json": 2})},
    )
    assert shown(report) == [
        "tables:",
        "table              rows  newest            files   MB             snapshot",
        "--------------------------------------------------------------------------",
        "fan_profiles      1,200  2026-11-24 04:05      3  4.5  8834834834834834834",
        "fan_track_events      0  -                     0  0.0                    -",
        "",
        "pending:",
        "dataset       objects   MB  acknowledged",
        "----------------------------------------",
        "fan_profiles        2  3.0             1",
        "",
        "last runs:",
        "started           verb     dataset           listed  objects  lines  new  quarantined",
        "------------------------------------------------------------------------------------------------",
        "2026-11-24 04:05  compact  fan_profiles           3        0      0    0            0  1 pending",
        "2026-11-24 04:05  compact  fan_track_events       0        0      0    0            0  FAILED",
        "2026-11-24 04:05  compact  other                  4        0      0    0            0",
        "2026-11-24 04:05  compact  fan_profiles           2        2  1,000  900            1",
        "2026-11-24 04:05  compact  2 other datasets       0        0      0    0            0",
        "2026-11-24 04:05  compact  fan_profiles           -        0      0    0            0",
        "",
        "the last run, run-2, did not load all:",
        "  fan_track_events: its table is gone; restore it",
        "  exports/k: cut",
        "",
        "quarantine:",
        "dataset       reason    rows  acknowledged",
        "------------------------------------------",
        "fan_profiles  not_json     3             2",
        "",
    ]


def test_an_empty_status_is_one_line_a_part(shown: Shown) -> None:
    assert shown(StatusReport()) == ["tables: none", "pending: none", "last runs: none", "quarantine: none"]


def test_verify_counts_the_checks_that_failed(shown: Shown) -> None:
    good = Check("unique keys", "fan_profiles", ok=True, detail="1,200 rows")
    bad = Check("ledger", "compactor_files", ok=False, detail="5 lines are not 4 + 0 + 0")
    assert shown(VerifyReport((good,)))[-1] == "all checks passed"
    lines = shown(VerifyReport((good, bad)))
    assert lines[-2:] == ["1 of 2 checks failed", "to see the possible repairs:   compactor verify --repair"]
    assert "compactor_files  ledger       FAILED  5 lines are not 4 + 0 + 0" in lines


def test_a_plan_says_what_is_wrong_what_is_done_and_what_is_left_to_the_operator(shown: Shown) -> None:
    check = Check("each record once", "fan_profiles_history", ok=False)
    due = Repair("fan_profiles_history", "2 ids stand twice", "keep one of each", rows=1_500, files=1)
    lost = Repair("fan_track_events", "1 data files are missing", "restore them", possible=False)
    assert shown(VerifyReport((check,), (due, lost)))[-7:] == [
        "can be repaired:",
        "  fan_profiles_history: 2 ids stand twice",
        "    keep one of each (1,500 rows to write, 1 file to replace)",
        "cannot be repaired from what the tables hold:",
        "  fan_track_events: 1 data files are missing",
        "    restore them",
        "nothing was changed; to repair:   compactor verify --repair --yes",
    ]
    done = dataclasses.replace(due, done=True)
    assert shown(VerifyReport((dataclasses.replace(check, ok=True),), (done,)))[-4:] == [
        "all checks passed",
        "repaired:",
        "  fan_profiles_history: 2 ids stand twice",
        "    keep one of each",
    ]


def test_nothing_is_wider_than_100_columns_or_other_than_ascii(shown: Shown) -> None:
    check = Check("current equals history", "fan_identity_graph_history", ok=False, detail="a long story, " * 30)
    dataset = DatasetReport("fan_identity_graph", 2_000_000, *(999_999_999_999,) * 4, raw_bytes=10**15, seconds=1)
    for report in (VerifyReport((check,)), run(dataset)):
        lines = shown(report)
        assert all(line.isascii() for line in lines)
        assert all(len(line) <= 100 for line in lines if "compactor query" not in line)


def test_control_characters_and_markup_in_a_key_are_shown_as_text(shown: Shown) -> None:
    lines = shown(run(DatasetReport("fan_profiles", failed=(("exports/[red]\x1b[2J", "not readable"),))))
    assert lines[-1] == "  exports/[red]\\x1b[2J: not readable"


def test_output_that_is_not_a_terminal_gets_no_colour_even_if_forced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    render.show(run(DatasetReport("fan_profiles", 1, 1, 1)), render.stdout())
    assert "\x1b" not in capsys.readouterr().out


def test_a_failed_run_says_what_several_datasets_share_once_and_not_that_there_was_nothing_to_do(shown: Shown) -> None:
    full = [Problem(name, "the disk is full", "free some space", fails=True) for name in ("a", "b")]
    report = dataclasses.replace(
        run(DatasetReport("a"), DatasetReport("b")), problems=(*full, Problem("c", "odd", "look"))
    )
    assert shown(report)[1:] == [
        "nothing was loaded",
        "2 problems:",
        "  a, b: the disk is full; free some space",
        "  c: odd; look",
    ]
    assert report.error == "a, b: the disk is full; free some space"


def test_the_sentence_of_a_failed_run_is_the_first_of_its_reasons() -> None:
    pending = run(DatasetReport("a", failed=(("k1", "k1 is cut; replace it"), ("k2", "empty; replace it"))))
    lost = Problem("b", "its table is gone", "restore it", fails=True)
    assert pending.error == "k1 is cut; replace it (the first of 2 objects; the report has all)"
    assert dataclasses.replace(pending, problems=(lost,)).error == str(lost)
    assert run(DatasetReport("a", quarantined=3)).error is None
    assert "error" not in run(DatasetReport("a")).to_json()

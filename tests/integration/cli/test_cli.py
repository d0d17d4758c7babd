"""The command line: what it hands on, what it prints where, and how it ends. The verbs themselves are fakes."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest

from compactor.cli.exit import stop
from compactor.cli.main import program
from compactor.errors import ConfigError, SourceError, UsageError
from compactor.reports.report import (
    Check,
    DatasetReport,
    Repair,
    RunReport,
    StatusReport,
    VerifyReport,
)
from compactor.reports.views import View, ViewsReport
from compactor.source import Hour
from tests.support.fake_verbs import Lake, invoke
from tests.support.lake import ROOT

pytestmark = pytest.mark.usefixtures("logging_restored")

VERBS = [
    "acknowledge",
    "compact",
    "drift",
    "infer",
    "init",
    "migrate",
    "query",
    "relocate",
    "replay",
    "status",
    "verify",
    "views",
]
START = datetime(2026, 11, 24, 4, tzinfo=UTC)
DONE = RunReport("run-1", START, START, (DatasetReport("fan_profiles", objects=2, lines=5, new=5),))


def run_with(**numbers: Any) -> RunReport:
    return RunReport("run-1", START, START, (DatasetReport("fan_profiles", **numbers),))


def test_compact_hands_on_what_was_asked_for(lake: Lake) -> None:
    lake.answer("compact", DONE)
    hours = "--from 2026-11-01T05 --to 2026-11-02T06 --full-scan"
    words = f"--dataset a --dataset b {hours} --if-running leave --engine spark --allow-empty-source"

    assert invoke("compact", *words.split()).exit_code == 0

    args, options = lake.call("compact.compact")
    assert args == (lake.config, "the registry")
    assert options.pop("progress") is not None
    assert options == {
        "datasets": ("a", "b"),
        "start": Hour("2026-11-01", 5),
        "stop": Hour("2026-11-02", 6),
        "full_scan": True,
        "if_running": "leave",
        "engine": "spark",
        "allow_empty_source": True,
    }
    assert lake.call("loader.load")[0] == ("the schemas",)


def test_a_bare_day_is_the_whole_day_at_both_ends(lake: Lake) -> None:
    lake.answer("compact", DONE)

    invoke("compact", "--from", "2026-11-01", "--to", "2026-11-01")

    options = lake.call("compact.compact")[1]
    assert (options["start"], options["stop"]) == (Hour("2026-11-01", 0), Hour("2026-11-01", 23))


def test_an_hour_that_is_none_is_wrong_usage(lake: Lake) -> None:
    lake.answer("compact", DONE)

    result = invoke("compact", "--from", "yesterday")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: 'yesterday' is not a UTC hour")


@pytest.mark.parametrize(
    ("verb", "report", "code"),
    [
        ("compact", DONE, 0),
        ("compact", RunReport("run-1", START, START), 0),
        ("compact", RunReport("run-1", START, START, left_to="run-0"), 0),
        ("compact", run_with(objects=1, lines=2, new=1, quarantined=1), 3),
        ("compact", run_with(failed=(("a-key", "its reason"),), quarantined=1), 1),
        ("replay", run_with(lines=1, quarantined=1), 3),
        ("status", StatusReport(), 0),
        ("verify", VerifyReport((Check("unique keys", "fan_profiles", ok=True),)), 0),
        ("verify", VerifyReport((Check("unique keys", "fan_profiles", ok=False),)), 1),
    ],
)
def test_the_report_decides_the_exit_code_in_both_forms(lake: Lake, verb: str, report: Any, code: int) -> None:
    lake.answer(verb, report)

    people, programs = invoke(verb), invoke(verb, "--json")

    assert (people.exit_code, programs.exit_code) == (code, code)
    assert json.loads(programs.stdout) == report.to_json()
    assert json.loads(programs.stdout)["exit_code"] == code


@pytest.mark.parametrize(("words", "yes"), [(["--repair"], False), (["--repair", "--yes"], True)])
def test_verify_repairs_only_with_yes(lake: Lake, words: list[str], yes: bool) -> None:
    plan = Repair("fan_profiles", "3 rows; 1 missing", "derive it", rows=4, files=1)
    report = VerifyReport((Check("each key once", "fan_profiles", ok=False),), (plan,))
    lake.answer("repair", report)

    result = invoke("verify", *words, "--json")

    assert lake.call("repair.repair")[1] == {"yes": yes}
    assert result.exit_code == 1
    assert json.loads(result.stdout) == report.to_json()
    assert json.loads(result.stdout)["repairs"][0]["action"] == "derive it"


def test_verify_for_athena_is_a_check_of_its_own(lake: Lake) -> None:
    report = VerifyReport((Check("types", "fan_profiles", ok=False, detail="column 'x' is a time"),))
    lake.stand_in_for("compactor.commands.verify.athena", "verify", report)

    result = invoke("verify", "--athena", "--json")

    assert lake.call("athena.verify")[0] == (lake.config, "the registry")
    assert (result.exit_code, json.loads(result.stdout)) == (1, report.to_json())
    assert invoke("verify", "--athena", "--rebuild").exit_code == 2


def test_views_are_statements_on_stdout_and_their_options_go_on(lake: Lake) -> None:
    view = View("a_view", "What it answers.", "CREATE OR REPLACE VIEW rover.a_view AS\nSELECT\n  1", "SELECT\n  1", "")
    lake.answer("views", ViewsReport("trino", "rover", (view,)))

    people, programs = invoke("views", "--dialect", "trino", "--name", "a_view"), invoke("views", "--json")

    assert people.stdout == "-- What it answers.\nCREATE OR REPLACE VIEW rover.a_view AS\nSELECT\n  1;\n\n"
    assert json.loads(programs.stdout)["views"][0]["create"] == view.create
    options = lake.call("views.views")[1]
    assert options == {
        "dialect": "athena",
        "names": (),
        "apply": False,
        "server": None,
        "workgroup": None,
        "output": None,
    }


def test_created_views_are_reported(lake: Lake) -> None:
    view = View("a_view", "What it answers.", "CREATE", "SELECT", "")
    lake.answer("views", ViewsReport("athena", "rover", (view,), made=True))

    result = invoke("views", "--apply", "--workgroup", "night", "--output", "s3://results/")

    assert result.stdout == "created view rover.a_view\n"
    options = lake.call("views.views")[1]
    assert (options["apply"], options["workgroup"], options["output"]) == (True, "night", "s3://results/")


def test_verify_and_replay_hand_on_their_options(lake: Lake) -> None:
    lake.answer("verify", VerifyReport())
    lake.answer("replay", DONE)

    invoke("verify", "--rebuild")
    invoke("replay", "--dataset", "a", "--if-running", "ignore")

    assert lake.call("verify.verify")[1] == {"rebuild": True, "files": False, "content": False}
    options = lake.call("replay.replay")[1]
    assert (options["datasets"], options["if_running"]) == (("a",), "ignore")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("unknown dataset 'x'"), 2),
        (ConfigError(["a.yaml:1: this", "a.yaml:2: that"]), 2),
        (SourceError("cannot list the bucket; grant s3:ListBucket"), 1),
    ],
)
def test_an_error_of_ours_is_its_sentence_and_its_code(lake: Lake, error: Exception, code: int) -> None:
    lake.answer("compact", error)

    people, programs = invoke("compact"), invoke("compact", "--json")

    assert (people.exit_code, people.stdout, people.stderr) == (code, "", f"error: {error}\n")
    assert programs.exit_code == code
    assert json.loads(programs.stdout) == {"error": str(error), "exit_code": code}


def test_an_unforeseen_error_shows_type_and_place_but_not_its_message(lake: Lake) -> None:
    lake.answer("status", ValueError("jane@example.com"))

    quiet, verbose = invoke("status", "--json"), invoke("-v", "status")

    assert quiet.exit_code == verbose.exit_code == 1
    assert "jane@example.com" not in quiet.output
    assert quiet.stderr.startswith("unexpected error: ValueError at compactor.api.reading:")
    assert "-v" in quiet.stderr
    assert json.loads(quiet.stdout)["exit_code"] == 1
    assert "ValueError: (not shown" in verbose.stderr
    assert "jane@example.com" not in verbose.output
    assert verbose.stdout == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_a_stopped_run_is_a_failed_one_and_says_how_to_continue(lake: Lake, error: BaseException) -> None:
    lake.answer("compact", error)

    result = invoke("compact", "--json")

    assert result.exit_code == 1
    assert result.stderr.strip() == "stopped; nothing partial was published, run it again to continue"
    assert json.loads(result.stdout)["exit_code"] == 1


def test_an_error_that_follows_a_signal_is_a_stop(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB answers an interrupt with an error of its own, in place of KeyboardInterrupt."""
    lake.answer("compact", RuntimeError("Query interrupted"))
    assert invoke("compact").stderr.startswith("unexpected error: RuntimeError")

    def interrupted(*_: object, **__: object) -> None:
        with suppress(KeyboardInterrupt):
            stop(signal.SIGTERM, None)
        raise RuntimeError("Query interrupted")

    monkeypatch.setattr("compactor.commands.compact.compact", interrupted)
    result = invoke("compact")
    assert result.exit_code == 1
    assert result.stderr.strip() == "stopped; nothing partial was published, run it again to continue"


def test_an_end_of_file_error_is_no_stop(lake: Lake) -> None:
    lake.answer("compact", EOFError())

    assert invoke("compact").stderr.strip().startswith("unexpected error: EOFError at compactor.api.loading:")


@pytest.mark.parametrize(
    "words",
    [
        ["--bogus", "status"],
        ["bogus"],
        ["status", "--bogus"],
        ["query"],
        ["query", "select 1", "--limit", "0"],
        ["verify", "--yes"],
        ["views", "--dialect", "oracle"],
        ["views", "--server", "http://me@localhost/lake"],
    ],
)
def test_wrong_usage_ends_with_2_and_an_empty_or_one_object_stdout(lake: Lake, words: list[str]) -> None:
    people, programs = invoke(*words), invoke(*words, "--json")

    assert (people.exit_code, people.stdout) == (2, "")
    assert people.stderr.startswith("Usage: compactor")
    assert programs.exit_code == json.loads(programs.stdout)["exit_code"] == 2


def test_log_lines_stay_json_on_failure_too(lake: Lake) -> None:
    lake.answer("status", SourceError("cannot list"))

    result = invoke("--log-format", "json", "-v", "status")

    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("error", "cannot list"),
        ("debug", "the traceback"),
    ]
    assert lines[0]["exit_code"] == result.exit_code == 1


def test_with_json_logs_a_verb_ends_with_a_line_that_has_its_exit_code(lake: Lake) -> None:
    """The alarms of deploy/cloudformation.yaml count these lines."""
    lake.answer("compact", run_with(objects=1, lines=2, new=1, quarantined=1))

    result = invoke("--log-format", "json", "compact", "--json")

    (line,) = [json.loads(line) for line in result.stderr.splitlines() if "exit_code" in line]
    assert (line["level"], line["message"], line["verb"], line["exit_code"]) == ("info", "ended", "compact", 3)


def test_every_verb_and_option_has_help_and_is_documented() -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert sorted(program.commands) == VERBS
    shared = {option.name for option in program.params}
    for option in program.params:
        assert option.opts[-1] in page.split("\n## ")[0], option.opts
    for name, command in program.commands.items():
        assert command.get_short_help_str(), name
        assert page.count(f"\n## `{name}`\n") == 1, name
        section = page.split(f"\n## `{name}`\n")[1].split("\n## ")[0]
        assert f"    compactor {name}" in section, f"{name} has no example"
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in shared:
                assert f"`{option.opts[0]}" in section, f"{name} {option.opts[0]}"


def test_init_prints_what_it_wrote_and_the_next_command(tmp_path: Path) -> None:
    people, programs = invoke("init", str(tmp_path / "a")), invoke("init", str(tmp_path / "b"), "--aws", "--json")

    config = tmp_path / "a" / "compactor.yaml"
    assert people.exit_code == programs.exit_code == 0
    assert f"wrote {config}\n" in people.stdout
    assert people.stdout.endswith(f"  compactor -c {config} compact\n")
    assert json.loads(programs.stdout)["next"] == f"compactor -c {tmp_path / 'b' / 'compactor.yaml'} infer --check"
    again = invoke("init", str(tmp_path / "a"))
    assert (again.exit_code, again.stdout) == (2, "")
    assert str(config) in again.stderr

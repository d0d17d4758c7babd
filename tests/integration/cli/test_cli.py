"""The command line: what it hands on, what it prints where, and how it ends. The verbs themselves are fakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

import compactor
from compactor.cli.main import program
from compactor.errors import ConfigError, SourceError, UsageError
from compactor.reports.migration import MigrationPlan
from compactor.reports.report import (
    Check,
    DatasetReport,
    Repair,
    RunReport,
    StatusReport,
    VerifyReport,
    View,
    ViewsReport,
)
from compactor.source import Hour

pytestmark = pytest.mark.usefixtures("logging_restored")

ROOT = Path(__file__).parents[3]
VERBS = ["compact", "drift", "infer", "init", "migrate", "query", "replay", "status", "verify", "views"]
START = datetime(2026, 11, 24, 4, tzinfo=UTC)
DONE = RunReport("run-1", START, START, (DatasetReport("fan_profiles", objects=2, lines=5, new=5),))


def run_with(**numbers: Any) -> RunReport:
    return RunReport("run-1", START, START, (DatasetReport("fan_profiles", **numbers),))


class Lake:
    """Stands in for config, registry and the verbs: records each call, and returns or raises the given answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.config = types.SimpleNamespace(schemas="the schemas", log=types.SimpleNamespace(format="text"))
        self.calls: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self._stand_in("compactor.config", "load", self.config)
        self._stand_in("compactor.registry.loader", "load", "the registry")

    def answer(self, verb: str, answer: Any) -> None:
        room = "verify" if verb == "repair" else verb
        folder = Path(compactor.__file__).parent / "commands" / room
        self._stand_in(
            f"compactor.commands.{room}.{verb}" if folder.is_dir() else f"compactor.commands.{verb}", verb, answer
        )

    def _stand_in(self, module: str, function: str, answer: Any) -> None:
        def fake(*args: Any, **options: Any) -> Any:
            self.calls[f"{module.rpartition('.')[2]}.{function}"] = (args, options)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        stand_in = types.ModuleType(module)
        setattr(stand_in, function, fake)
        self._monkeypatch.setitem(sys.modules, module, stand_in)
        self._monkeypatch.setattr(module, stand_in, raising=False)

    def call(self, name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.calls[name]


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.delenv("COMPACTOR_CONFIG", raising=False)
    return Lake(monkeypatch)


def invoke(*words: str, **options: Any) -> Result:
    return CliRunner().invoke(program, words, **options)


def test_compact_hands_on_what_was_asked_for(lake: Lake) -> None:
    lake.answer("compact", DONE)
    hours = "--from 2026-11-01T05 --to 2026-11-02T06 --full-scan"
    words = f"--dataset a --dataset b {hours} --if-running leave --engine spark"

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
    ("words", "environment", "expected"),
    [
        ([], {}, "configs/local.yaml"),
        ([], {"COMPACTOR_CONFIG": "other.yaml"}, "other.yaml"),
        (["-c", "mine.yaml"], {"COMPACTOR_CONFIG": "other.yaml"}, "mine.yaml"),
    ],
)
def test_the_config_comes_from_the_option_else_the_environment_else_the_default(
    lake: Lake, words: list[str], environment: dict[str, str], expected: str
) -> None:
    lake.answer("status", StatusReport())

    invoke(*words, "status", env=environment)

    assert lake.call("config.load")[0] == (Path(expected),)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], "configs/local.yaml"),
        (["compactor.yaml"], "compactor.yaml"),
        (["compactor.yaml", "configs/local.yaml"], "configs/local.yaml"),
    ],
)
def test_without_a_name_the_config_is_the_first_default_that_exists(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], expected: str
) -> None:
    lake.answer("status", StatusReport())
    monkeypatch.chdir(tmp_path)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    invoke("status")

    assert lake.call("config.load")[0] == (Path(expected),)


@pytest.mark.parametrize(
    ("words", "config", "logs"),
    [
        ("-c before.yaml --log-format json status", "before.yaml", "json"),
        ("status -c after.yaml --log-format json", "after.yaml", "json"),
        ("-c before.yaml --log-format json status -c after.yaml --log-format text", "after.yaml", "text"),
        ("-c before.yaml status -v", "before.yaml", "text"),
    ],
)
def test_shared_options_stand_before_or_after_the_verb_and_the_later_one_counts(
    lake: Lake, words: str, config: str, logs: str
) -> None:
    lake.answer("status", SourceError("cannot list"))

    result = invoke(*words.split(), env={"COMPACTOR_CONFIG": "other.yaml"})

    assert lake.call("config.load")[0] == (Path(config),)
    assert result.stderr.startswith("{") == (logs == "json")
    assert ("Traceback" in result.stderr) == ("-v" in words)


def test_shared_options_stand_after_a_verb_of_a_group_too(lake: Lake) -> None:
    lake._stand_in("compactor.commands.migrate.migrate", "plan", MigrationPlan("an-id"))

    for words in ("migrate plan -c x.yaml --json", "migrate -c x.yaml --json plan", "-c x.yaml --json migrate plan"):
        result = invoke(*words.split())

        assert lake.call("config.load")[0] == (Path("x.yaml"),)
        assert json.loads(result.stdout)["plan_id"] == "an-id"


def test_the_version_is_printed_and_stands_in_each_report(lake: Lake) -> None:
    lake.answer("status", StatusReport())

    assert invoke("--version").stdout == f"compactor {compactor.__version__}\n"
    assert json.loads(invoke("--version", "--json").stdout) == {"version": compactor.__version__}
    assert json.loads(invoke("--json", "--version").stdout) == {"version": compactor.__version__}
    assert json.loads(invoke("status", "--json").stdout)["version"] == compactor.__version__


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
    lake._stand_in("compactor.commands.verify.athena", "verify", report)

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


def test_views_that_were_made_are_reported(lake: Lake) -> None:
    view = View("a_view", "What it answers.", "CREATE", "SELECT", "")
    lake.answer("views", ViewsReport("athena", "rover", (view,), made=True))

    result = invoke("views", "--apply", "--workgroup", "night", "--output", "s3://results/")

    assert result.stdout == "made view rover.a_view\n"
    options = lake.call("views.views")[1]
    assert (options["apply"], options["workgroup"], options["output"]) == (True, "night", "s3://results/")


def test_verify_and_replay_hand_on_their_options(lake: Lake) -> None:
    lake.answer("verify", VerifyReport())
    lake.answer("replay", DONE)

    invoke("verify", "--rebuild")
    invoke("replay", "--dataset", "a", "--if-running", "ignore")

    assert lake.call("verify.verify")[1] == {"rebuild": True, "files": False}
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


def test_an_unforeseen_error_tells_type_and_place_but_not_its_message(lake: Lake) -> None:
    lake.answer("status", ValueError("jane@example.com"))

    quiet, verbose = invoke("status", "--json"), invoke("-v", "status")

    assert quiet.exit_code == verbose.exit_code == 1
    assert "jane@example.com" not in quiet.output
    assert quiet.stderr.startswith("unexpected error: ValueError at compactor.api:")
    assert "-v" in quiet.stderr
    assert json.loads(quiet.stdout)["exit_code"] == 1
    assert verbose.stderr.rstrip().endswith("ValueError: jane@example.com")
    assert verbose.stdout == ""


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_a_stopped_run_is_a_failed_one_and_says_how_to_go_on(lake: Lake, error: BaseException) -> None:
    lake.answer("compact", error)

    result = invoke("compact", "--json")

    assert result.exit_code == 1
    assert result.stderr.strip() == "stopped; nothing partial was published, run it again to continue"
    assert json.loads(result.stdout)["exit_code"] == 1


def test_an_end_of_file_error_is_no_stop(lake: Lake) -> None:
    lake.answer("compact", EOFError())

    assert invoke("compact").stderr.strip().startswith("unexpected error: EOFError at compactor.api:")


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


def test_the_config_decides_the_log_format_unless_the_option_does(lake: Lake) -> None:
    lake.config.log.format = "json"
    lake.answer("status", SourceError("cannot list"))

    assert invoke("status").stderr.startswith("{")
    assert invoke("--log-format", "text", "status").stderr.startswith("error: ")


def batches(*values: int) -> pa.RecordBatchReader:
    schema = pa.schema([("n", pa.int64())])
    return pa.RecordBatchReader.from_batches(schema, [pa.record_batch([[value]], schema=schema) for value in values])


@pytest.mark.parametrize(
    ("options", "stdout"),
    [
        (["--format", "csv"], "n\n1\n2\n"),
        (["--format", "json"], '{"columns": ["n"], "rows": [{"n": 1}, {"n": 2}]}\n'),
        (["--json"], '{"columns": ["n"], "rows": [{"n": 1}, {"n": 2}]}\n'),
        ([], "n\n-\n1\n2\n"),
    ],
)
def test_query_prints_its_rows_in_the_form_asked_for(lake: Lake, options: list[str], stdout: str) -> None:
    lake.answer("query", batches(1, 2))

    result = invoke("query", *options, "select n")

    assert (result.exit_code, result.stdout, result.stderr) == (0, stdout, "")
    assert lake.call("query.query")[0] == (lake.config, "the registry", "select n")


def test_query_says_on_stderr_that_a_table_was_cut(lake: Lake) -> None:
    lake.answer("query", batches(1, 2))

    result = invoke("query", "--limit", "1", "select n")

    assert result.stdout == "n\n-\n1\n"
    assert result.stderr == "first 1 rows; --limit shows more, --format csv all of them\n"


def test_query_reads_its_statement_from_stdin(lake: Lake) -> None:
    lake.answer("query", batches())

    invoke("query", "-", input="select 5\n")

    assert lake.call("query.query")[0][2] == "select 5\n"


def test_a_query_that_fails_half_way_leaves_one_json_object(lake: Lake) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [1]})
        raise SourceError("the file has gone")

    lake.answer("query", pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), rows()))

    result = invoke("query", "--json", "select n")

    assert json.loads(result.stdout)["exit_code"] == result.exit_code == 1


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


def test_help_loads_neither_arrow_nor_duckdb_nor_pyiceberg_nor_the_aws_sdk() -> None:
    code = (
        "import sys; from compactor.cli.main import program\n"
        "try: program.main(['compact', '--help'])\n"
        "except SystemExit: print(sorted({'pyarrow', 'duckdb', 'pyiceberg', 'boto3', 'rich', 'sqlglot'}"
        " & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_sigterm_stops_the_program_as_ctrl_c_does(tmp_path: Path) -> None:
    """A real process: the signal arrives while it waits for the statement on stdin."""
    code = (
        "import os, signal, sys, types\n"
        "query = types.ModuleType('compactor.commands.query'); query.query = None\n"
        "sys.modules['compactor.commands.query'] = query\n"
        "from compactor.cli import main as cli\n"
        "sys.stdin = types.SimpleNamespace(read=lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "cli.run()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "query", "-"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.strip().startswith("stopped;")


def test_the_completion_script_of_bash_completes_verbs_and_options(tmp_path: Path) -> None:
    """Evaluated by a real bash, with a `compactor` on its path."""
    command = tmp_path / "compactor"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m compactor "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(_COMPACTOR_COMPLETE=bash_source compactor)"
        COMP_WORDS=(compactor ver) COMP_CWORD=1 COMPREPLY=()
        _compactor_completion compactor; echo "${COMPREPLY[@]}"
        COMP_WORDS=(compactor migrate apply --pl) COMP_CWORD=3 COMPREPLY=()
        _compactor_completion compactor; echo "${COMPREPLY[@]}"
    """
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["verify", "--plan"]

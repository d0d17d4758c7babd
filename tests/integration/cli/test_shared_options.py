"""Options that all verbs take, before and after the verb; the config that is found without them; the version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compactor
from compactor.errors import SourceError
from compactor.reports.migration import MigrationPlan
from compactor.reports.report import StatusReport
from tests.support.fake_verbs import Lake, invoke

pytestmark = pytest.mark.usefixtures("logging_restored")


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
    lake.stand_in_for("compactor.commands.migrate.migrate", "plan", MigrationPlan("an-id"))

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


def test_the_config_decides_the_log_format_unless_the_option_does(lake: Lake) -> None:
    lake.config.log.format = "json"
    lake.answer("status", SourceError("cannot list"))

    assert invoke("status").stderr.startswith("{")
    assert invoke("--log-format", "text", "status").stderr.startswith("error: ")

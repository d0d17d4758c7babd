"""The examples of docs/orchestration.md: their syntax, and that each names all exit codes that need an answer."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.lake import ROOT

PAGE = (ROOT / "docs" / "orchestration.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_python_examples_compile() -> None:
    found = blocks("python")
    assert len(found) == 2
    for number, text in enumerate(found):
        compile(text, f"example {number}", "exec")


def test_the_files_of_deploy_are_linked_and_not_repeated() -> None:
    for name in ("compactor.cron", "compactor.service", "compactor.timer", "kubernetes.yaml", "cloudformation.yaml"):
        assert f"(../deploy/{name})" in PAGE
    assert not [language for language in ("ini", "crontab", "yaml") if blocks(language)]


def test_every_state_of_the_state_machine_leads_to_one_that_exists() -> None:
    machine, schedule = map(json.loads, blocks("json"))
    states: dict[str, dict[str, Any]] = machine["States"]
    reached = {machine["StartAt"]}
    for state in states.values():
        choices = [*state.get("Choices", ()), *state.get("Catch", ())]
        reached |= {each["Next"] for each in choices}
        reached |= {state[key] for key in ("Next", "Default") if key in state}
        assert state["Type"] in ("Succeed", "Fail", "Choice") or "Next" in state
    assert reached == set(states)
    assert json.loads(schedule["Target"]["Input"]) == {"attempt": 0}


@pytest.mark.parametrize("code", range(5))
def test_each_exit_code_is_in_the_table(code: int) -> None:
    assert re.search(rf"^\| {code} \|", PAGE, re.MULTILINE)

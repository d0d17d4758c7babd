"""What tests of several kinds claim of a lake, and of a run that has failed."""

from __future__ import annotations

import re

from compactor.commands.verify.verify import verify
from compactor.reports.report import Report
from tests.support.lake import Lake


def assert_sound(lake: Lake, datasets: tuple[str, ...]) -> None:
    failed = [check for check in verify(lake.config, lake.registry, rebuild=True).checks if not check.ok]
    assert not failed
    lake.assert_equals_model(datasets)


def assert_one_sentence(code: int, errors: str, *sentences: str) -> None:
    """The run has failed as a run fails: with 1, and with one line that is no line of the log."""
    said = [line for line in errors.splitlines() if " info " not in line and " warning " not in line]
    assert code == 1, errors
    assert len(said) == 1, errors
    assert any(sentence in said[0] for sentence in sentences), errors


def assert_failed(report: Report, pattern: str) -> None:
    """The run has ended with 1, and its sentence has the pattern."""
    assert report.exit_code == 1
    assert re.search(pattern, report.error or ""), report.error

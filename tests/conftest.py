"""Fixtures that tests of several modules use, and how a failed test is run again."""

from __future__ import annotations

import logging
from collections.abc import Collection, Generator, Iterator

import pytest

pytest.register_assert_rewrite("tests.support")  # what a helper claims is shown as what a test claims
pytest_plugins = [
    "tests.support.aws_lake",
    "tests.support.decoding",
    "tests.support.export",
    "tests.support.glue_server",
    "tests.support.lost",
    "tests.support.packaging",
    "tests.support.postgres_server",
    "tests.support.s3_server",
    "tests.support.sound_lake",
    "tests.support.sources",
    "tests.support.versioned_fans",
]


def again(test: str, marked: Collection[str]) -> str:
    """The command that runs one test again: its id has all that the test depends on, the seed too."""
    target = "soak" if "soak" in marked else "test-engines" if "engines" in marked else "test"
    return f"""make {target} PYTEST_ARGS="'{test}'\""""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.append(("to run this one again", again(item.nodeid, set(item.keywords))))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the long proofs have counted (`record_property`), so that nobody has to believe that they did something."""
    reports = [report for report in terminalreporter.getreports("passed") if report.user_properties]
    if reports:
        terminalreporter.section("counted")
    for report in reports:
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{value} {name}: {report.nodeid}")


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """Takes back what `compactor.log.setup` changes for the whole process."""
    root, ours = logging.getLogger(), logging.getLogger("compactor")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(False)

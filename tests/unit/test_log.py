"""Log lines: on stderr, in UTC, ours alone below WARNING."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import suppress

import duckdb
import pytest

from compactor import log
from compactor.errors import CompactorError

pytestmark = pytest.mark.usefixtures("logging_restored")

OURS = logging.getLogger("compactor.test")
THEIRS = logging.getLogger("pyiceberg.test")
AT = 1_793_509_200.25  # 2026-11-01T05:00:00.250Z


def say_at(moment: float, message: str, **extra: object) -> None:
    record = OURS.makeRecord(OURS.name, logging.INFO, __file__, 1, message, (), None, extra=extra)
    record.created, record.msecs = moment, moment % 1 * 1000
    OURS.handle(record)


def test_text_lines_are_time_level_message(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("text")
    say_at(AT, "loaded 3 objects", dataset="fan_profiles")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "05:00:00 info loaded 3 objects\n")


def test_json_lines_keep_extra_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json")
    say_at(AT, "loaded 3 objects", dataset="fan_profiles", objects=3)
    assert json.loads(capsys.readouterr().err) == {
        "time": "2026-11-01T05:00:00.250Z",
        "level": "info",
        "logger": "compactor.test",
        "message": "loaded 3 objects",
        "dataset": "fan_profiles",
        "objects": 3,
    }


def test_an_error_with_its_trace_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json")
    OURS.error("failed", exc_info=CompactorError("why"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "CompactorError: why" in json.loads(line)["exc_info"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_trace_has_no_message_that_may_quote_a_record(
    capsys: pytest.CaptureFixture[str], form: log.LogFormat
) -> None:
    log.setup(form)
    person = "fan@" + chr(101) + "xample.com"  # a trace has lines of the source
    with suppress(CompactorError):
        try:
            try:
                int(person)
            except ValueError as error:
                raise duckdb.ConversionException(f"Could not convert string '{person}'") from error
        except duckdb.Error as error:
            error.add_note(f"in {person}")
            try:
                raise CompactorError("the sentence") from error
            except CompactorError as last:
                OURS.error("failed", exc_info=last)
    text = capsys.readouterr().err
    assert person not in text
    assert text.index("CompactorError: the sentence") < text.index("ConversionException") < text.index("ValueError")
    assert "test_log.py" in text


def test_a_trace_has_the_message_of_an_error_of_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("text")
    OURS.error("failed", exc_info=FileNotFoundError(2, "No such file or directory", "/lake/catalog.db"))
    assert "No such file or directory: '/lake/catalog.db'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verbosity", "heard"), [(0, ["our info", "their warning"]), (1, ["our debug", "our info", "their warning"])]
)
def test_verbosity_applies_to_our_own_loggers_only(
    capsys: pytest.CaptureFixture[str], verbosity: int, heard: list[str]
) -> None:
    log.setup("text", verbosity)
    OURS.debug("our debug")
    OURS.info("our info")
    THEIRS.info("their info")
    THEIRS.warning("their warning")
    assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().err.splitlines()] == heard


def test_a_second_setup_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("text")
    log.setup("json")
    OURS.info("once")
    assert json.loads(capsys.readouterr().err)["message"] == "once"
    assert log.is_json()


@pytest.mark.filterwarnings("always")  # the suite turns warnings into errors, which are not logged
def test_python_warnings_are_log_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json")
    warnings.warn("old spelling", UserWarning, stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert "UserWarning: old spelling" in json.loads(line)["message"]

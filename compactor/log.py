"""Logging to stderr: plain lines for people, JSON lines for collectors.

The rule of every log line in this program: it carries ids, keys, file names, line numbers, counts and times, and never
the content of a record, not even on DEBUG. What a record holds is personal data; a log is kept longer and read by more
people than the lake is.

All times are UTC, like the hours in the object keys.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is at that moment, so that a progress bar can keep its line below the log."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a property in place of an attribute, on purpose
        return sys.stderr


def setup(format: LogFormat = "text", verbosity: int = 0) -> None:  # noqa: A002  # the word that the option uses
    """Sends all log records to stderr; a second call replaces the first.

    Our own loggers speak from INFO on, or from DEBUG on with a `verbosity` of 1 or more. Other libraries are heard from
    WARNING on in both cases: their DEBUG lines may hold request bodies. Python warnings take the same way.
    """
    handler = StderrHandler()
    handler.setFormatter(_json_formatter() if format == "json" else _text_formatter())
    root = logging.getLogger()
    for old in _our_handlers():
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("compactor").setLevel(logging.DEBUG if verbosity else logging.INFO)
    logging.captureWarnings(True)  # noqa: FBT003  # the standard library's signature


def is_json() -> bool:
    """Whether the last `setup` chose JSON lines."""
    return any(isinstance(each.formatter, JsonFormatter) for each in _our_handlers())


def _our_handlers() -> list[StderrHandler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, StderrHandler)]


class _LowerLevel(logging.Formatter):
    """`HH:MM:SS info message`: the level in lower case, as in the JSON form."""

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's name
        return f"{record.asctime} {record.levelname.lower()} {record.message.rstrip()}"


def _text_formatter() -> logging.Formatter:
    return _LowerLevel("%(asctime)s", datefmt="%H:%M:%S")  # asctime is named here so that it is computed


class _UtcJson(JsonFormatter):
    """One JSON object a line: time (ISO 8601, UTC), level, logger, message, then the record's extra fields."""

    converter = staticmethod(time.gmtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  # as above
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", self.converter(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {**log_data, "level": log_data["level"].lower()}


def _json_formatter() -> logging.Formatter:
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    return _UtcJson("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names)

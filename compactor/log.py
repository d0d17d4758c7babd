"""Logging to stderr: text lines for people, JSON lines for log collectors.

A log line may hold ids, keys, file names, line numbers, counts and times. It never holds the content of a record, not
even at level DEBUG: records are personal data, and a log is kept longer and read by more people than the lake. So a
traceback has the places and the kinds of errors. It has the message of an error only if that cannot quote a record.

All times are UTC, like the hours in the object keys.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import Any, Literal, TextIO

from pythonjsonlogger.json import JsonFormatter

LogFormat = Literal["text", "json"]


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current `sys.stderr`. A progress bar replaces it, and so keeps its line below the log."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # a property in place of an attribute, on purpose
        return sys.stderr


def setup(format: LogFormat = "text", verbosity: int = 0) -> None:  # noqa: A002  # the name of the option
    """Sends all log records to stderr, and Python's warnings too. A second call replaces the first.

    The program logs from level INFO on, or from DEBUG on with a `verbosity` of 1 or more. Other libraries always log
    from WARNING on: their DEBUG lines may hold request bodies.
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
    """Whether log lines are JSON."""
    return any(isinstance(each.formatter, JsonFormatter) for each in _our_handlers())


def printable(text: str) -> str:
    """`text` with control characters escaped: a key or a value of a record must not control the operator's terminal."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _our_handlers() -> list[StderrHandler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, StderrHandler)]


_QUOTES_NOTHING = ("compactor.", "botocore.", "click.")
"""Packages whose errors speak of names and settings. Those of others, such as the engine, quote what they have read."""


def traceback_text(error: BaseException) -> str:
    """The traceback of an error and of those that led to it, without messages that may quote a record."""
    parts: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        trace = "".join(traceback.format_tb(link.__traceback__))
        parts.append(f"Traceback (most recent call last):\n{trace}{_kind(link)}")
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n\nThat followed from:\n\n".join(parts)


def _kind(error: BaseException) -> str:
    module, name = type(error).__module__, type(error).__qualname__
    shown = isinstance(error, OSError) or f"{module}.".startswith(_QUOTES_NOTHING)
    return f"{module}.{name}: {error if shown else '(not shown: it may quote a record)'}"


class _WithoutValues(logging.Formatter):
    """Writes the traceback of a log line by `traceback_text`."""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # where the formatter of another handler has left its own
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the base class's name
        return traceback_text(ei[1])


class _LowerLevel(_WithoutValues):
    """`HH:MM:SS info message`: the level in lower case, as in JSON lines."""

    converter = staticmethod(time.gmtime)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the base class's name
        return f"{record.asctime} {record.levelname.lower()} {record.message.rstrip()}"


def _text_formatter() -> logging.Formatter:
    return _LowerLevel("%(asctime)s", datefmt="%H:%M:%S")  # logging computes asctime only if the format names it


class _UtcJson(_WithoutValues, JsonFormatter):
    """One JSON object per line: time (ISO 8601, UTC), level, logger, message, then the record's extra fields."""

    converter = staticmethod(time.gmtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802  # as above
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", self.converter(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {**log_data, "level": log_data["level"].lower()}


def _json_formatter() -> logging.Formatter:
    names = {"asctime": "time", "levelname": "level", "name": "logger"}
    return _UtcJson("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=names)

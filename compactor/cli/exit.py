"""How the command line ends: each failure as one sentence and one exit code, and as JSON if `--json` was given."""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

import click

from compactor import diagnose, log
from compactor.cli.options import Invocation, VerbGroup
from compactor.errors import CompactorError

_logger = logging.getLogger(__name__)

_STOPPED = "stopped; nothing partial was published, run it again to continue"
_stop_requested = threading.Event()


def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handles SIGINT and SIGTERM. It remembers the request, because DuckDB turns an interrupt into another error."""
    _stop_requested.set()
    raise KeyboardInterrupt


class Program(VerbGroup):
    """The root command. It turns each failure into one sentence and one exit code."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Runs the verb and exits with its code. A run that was stopped has failed: 1, not 130 or 143."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = _wants_json(words)
        _stop_requested.clear()
        try:
            code = super().main(words, prog_name="compactor", standalone_mode=False, obj=Invocation(as_json))
        except Exception as error:  # noqa: BLE001  # the outermost place: nothing above handles what arrives here
            code = _fail(error, as_json=as_json)
        sys.exit(code)


def _wants_json(words: Sequence[str]) -> bool:
    """Decided by the raw words, because a mistake in them is answered in JSON too."""
    return "--json" in words or "--format=json" in words or ("--format", "json") in pairwise(words)


def _fail(error: Exception, *, as_json: bool) -> int:
    """Reports a failure on stderr and, if asked for, as a JSON object on stdout. Returns the exit code."""
    if isinstance(error, click.Abort) and isinstance(error.__cause__, EOFError):
        error = error.__cause__  # click takes any EOFError for a prompt without an answer; there are no prompts here
    code = error.exit_code if isinstance(error, CompactorError | click.ClickException) else 1
    message = _sentence(error)
    if log.is_json():
        _logger.error(message, extra={"exit_code": code})
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        click.echo(f"error: {message}" if isinstance(error, CompactorError) else message, err=True)
    if as_json:
        with suppress(OSError):  # stdout may be what has failed
            click.echo(json.dumps({"error": message, "exit_code": code}))
    if not isinstance(error, click.ClickException):
        _logger.debug("the traceback", exc_info=error)
    return code


def _sentence(error: Exception) -> str:
    if isinstance(error, click.Abort) or _stop_requested.is_set():
        return _STOPPED
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, CompactorError):
        return str(error)
    if reason := diagnose.reason(error):
        return f"the run failed: {reason}; then run it again, which completes what was begun"
    # Nobody foresaw any other error. Its message may quote the data, so only its type and its place are shown.
    places = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in places if place[0].startswith("compactor.")]
    module, line = (ours or places)[-1]
    return f"unexpected error: {type(error).__name__} at {module}:{line} (run with -v for the traceback)"

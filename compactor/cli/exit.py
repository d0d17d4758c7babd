"""How the command line ends: each failure as one sentence and one exit code, and as JSON if `--json` was given."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from types import FrameType
from typing import Any, NoReturn

import click

from compactor import diagnose, log
from compactor.cli.options import Invocation, VerbGroup, say_failed
from compactor.errors import CompactorError

_logger = logging.getLogger(__name__)

_STOPPED = "stopped; nothing partial was published, run it again to continue"


def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handles SIGINT and SIGTERM."""
    diagnose.request_stop()
    raise KeyboardInterrupt


class Program(VerbGroup):
    """The root command. It turns each failure into one sentence and one exit code."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **__: Any) -> NoReturn:
        """Runs the verb and exits with its code. A run that was stopped has failed: 1, not 130 or 143."""
        words = list(sys.argv[1:] if args is None else args)
        as_json = _wants_json(words)
        diagnose.forget_stop()
        try:
            code = super().main(words, prog_name="compactor", standalone_mode=False, obj=Invocation(as_json))
        except Exception as error:  # noqa: BLE001  # the outermost place: nothing above handles what arrives here
            code = _fail(error, as_json=as_json)
        finally:
            diagnose.forget_stop()
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
    if isinstance(error, click.ClickException) and not log.is_json():
        error.show()
    else:
        say_failed(message, code, prefix="error: " if isinstance(error, CompactorError) else "")
    if as_json:
        with suppress(OSError):  # stdout may be what has failed
            click.echo(json.dumps({"error": message, "exit_code": code}))
    if not isinstance(error, click.ClickException):
        _logger.debug("the traceback", exc_info=error)
    return code


def _sentence(error: Exception) -> str:
    if isinstance(error, click.Abort) or diagnose.stop_requested():
        return _STOPPED
    if isinstance(error, click.ClickException):
        return error.format_message()
    return f"{'the run failed: ' if diagnose.reason(error) else ''}{diagnose.sentence(error)}"

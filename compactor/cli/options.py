"""What all verbs share: their options, and how a verb opens its lake and prints its report.

The shared options are accepted before and after the verb. Of one given twice, the later one counts; of `-v`, each.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compactor import log
from compactor.cli import streams

if TYPE_CHECKING:
    from compactor.api import Lake
    from compactor.progress import Progress
    from compactor.reports.report import Report

_logger = logging.getLogger(__name__)

ENVIRONMENT = "COMPACTOR_CONFIG"
DEFAULTS = (Path("configs/local.yaml"), Path("compactor.yaml"))


def default_config() -> Path:
    """The config of a command without -c and without COMPACTOR_CONFIG: the first of `DEFAULTS` that exists."""
    return next((path for path in DEFAULTS if path.exists()), DEFAULTS[0])


@dataclass
class Invocation:
    """The shared options of one call. click fills it in while it parses; the verb gets it complete.

    `config` is None where neither -c nor the environment names one; `log_format` is None where the config decides.
    """

    as_json: bool = False
    config: Path | None = None
    verbosity: int = 0
    log_format: log.LogFormat | None = None

    def set_up_log(self) -> None:
        log.setup(self.log_format or "text", self.verbosity)

    def open(self) -> Lake:
        """Opens the lake. From here on, its config decides the log format unless an option did."""
        from compactor import api

        lake = api.open(self.config_path)
        if self.log_format is None:
            log.setup(lake.config.log.format, self.verbosity)
        return lake

    @property
    def config_path(self) -> Path:
        named = os.environ.get(ENVIRONMENT)
        return self.config or (Path(named) if named else default_config())

    def progress(self) -> Progress:
        """A bar on a terminal, else log lines. Ask for it once the lake is open: JSON logs have no bar."""
        from compactor.progress import Progress

        return Progress.for_terminal(json_logs=log.is_json())

    def show(self, report: Report) -> int:
        """Prints a report to stdout, as one JSON object or for people. Returns its exit code."""
        with streams.until_closed():
            if self.as_json:
                click.echo(json.dumps(report.to_json()))
            else:
                from compactor.cli import render

                path = self.config_path
                command = "compactor" if path == default_config() else f"compactor -c {shlex.quote(str(path))}"
                render.show(report, render.stdout(), command=command)
        if report.error:
            say_failed(log.printable(report.error), report.exit_code)
        elif log.is_json():  # alarms look for this line, or for that of an error, which has the exit code as well
            verb = click.get_current_context().command_path.removeprefix("compactor ")
            _logger.info("ended", extra={"verb": verb, "exit_code": report.exit_code})
        return report.exit_code


def say_failed(sentence: str, exit_code: int, *, prefix: str = "error: ") -> None:
    """The last line of stderr of a command that failed."""
    if log.is_json():
        _logger.error(sentence, extra={"exit_code": exit_code})
    else:
        click.echo(f"{prefix}{sentence}", err=True)


pass_invocation = click.make_pass_decorator(Invocation)
datasets = click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this one; can be repeated.")
if_running = click.option(
    "--if-running",
    type=click.Choice(["wait", "leave", "ignore"]),
    help="If another run is in progress: wait for its end, leave, or ignore it; default: if_running of the config.",
)


class SharedOptions(click.Command):
    """A command that takes the shared options beside its own."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params += _shared()


class Verb(SharedOptions):
    """A command that does something."""


class VerbGroup(SharedOptions, click.Group):
    """A command with commands of its own, such as `migrate`."""

    command_class = Verb


VerbGroup.group_class = VerbGroup


def _shared() -> list[click.Option]:
    return [
        click.Option(
            ["-c", "--config"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_set_config,
            help=f"The config file; default: {ENVIRONMENT}, else {' or '.join(map(str, DEFAULTS))}.",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_set_verbosity,
            help="Log each step, and the traceback of an error.",
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(["text", "json"]),
            expose_value=False,
            callback=_set_log_format,
            help="Form of the log lines; default: log.format of the config.",
        ),
        # Its value is read from the raw words, because a mistake in them is answered in JSON too: see `exit.Program`.
        click.Option(["--json"], is_flag=True, expose_value=False, help="Print one JSON object."),
    ]


def _set_config(context: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        context.ensure_object(Invocation).config = value


def _set_verbosity(context: click.Context, _: click.Parameter, value: int) -> None:
    if value:
        invocation = context.ensure_object(Invocation)
        invocation.verbosity += value
        invocation.set_up_log()


def _set_log_format(context: click.Context, _: click.Parameter, value: log.LogFormat | None) -> None:
    if value is not None:
        invocation = context.ensure_object(Invocation)
        invocation.log_format = value
        invocation.set_up_log()

"""The command line. It parses, calls `compactor.api`, prints the report, and exits with the report's code.

The verbs are in the modules beside this one, by subject: `loading`, `reading`, `setup`, `migrate`,
`acknowledge`, `relocate`.

stdout carries the result alone; with `--json` that is exactly one JSON object, also after a failure. Errors, logs and
progress go to stderr.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

import click

from compactor import diagnose
from compactor.cli import acknowledge, libraries, loading, migrate, reading, relocate, setup, streams
from compactor.cli.exit import Program, stop
from compactor.cli.options import Invocation, pass_invocation
from compactor.version import __version__


def run() -> NoReturn:
    """The console script. SIGTERM stops it as Ctrl-C does."""
    streams.prepare()
    libraries.prepare()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, stop)
    try:
        program.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    # The native threads of the engine can still be releasing Python buffers. The interpreter's own teardown races with
    # them and has aborted runs that were complete. So it is skipped: all that matters is committed or printed.
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # its reader may have closed it; a result that cannot be written was reported before
            stream.flush()
    os._exit(code)


def _show_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        as_json = context.ensure_object(Invocation).as_json
        click.echo(json.dumps({"version": __version__}) if as_json else f"compactor {__version__}")
        context.exit()


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Print the version."
)
@pass_invocation
def program(invocation: Invocation) -> None:
    """Compacts gzipped NDJSON exports into deduplicated Iceberg tables."""
    invocation.set_up_log()
    diagnose.refuse_small_address_space()  # before anything large is imported
    diagnose.refuse_few_threads()


for _verb in (
    loading.compact,
    loading.replay,
    reading.status,
    reading.query,
    reading.verify,
    reading.drift,
    setup.init,
    setup.infer,
    setup.views,
    migrate.migrate,
    acknowledge.acknowledge,
    relocate.relocate,
):
    program.add_command(_verb)

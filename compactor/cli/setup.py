"""The verbs that set things up: `init`, `infer` and `views`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compactor.cli import streams
from compactor.cli.options import Invocation, Verb, datasets, pass_invocation

if TYPE_CHECKING:
    from compactor.views.dialect import Dialect


@click.command(cls=Verb)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--aws", is_flag=True, help="A config for S3 and Glue, instead of one for this machine.")
@click.option("--registry", is_flag=True, help="Also copy the registry and the views, for editing.")
@pass_invocation
def init(invocation: Invocation, folder: Path, aws: bool, registry: bool) -> int:
    """Write a config for a new lake into FOLDER (default: this one). Never overwrites a file."""
    from compactor import api

    report = api.init(folder, aws=aws, registry=registry)
    with streams.until_closed():
        if invocation.as_json:
            click.echo(json.dumps(report.to_json()))
        else:
            for path in report.written:
                click.echo(f"wrote {path}")
            click.echo(f"next: {report.note}\n  {report.next}")
    return report.exit_code


@click.command(cls=Verb)
@datasets
@click.option("--from", "start", metavar="HOUR", help="First UTC hour to sample: 2026-11-01T05 or 2026-11-01.")
@click.option("--to", "stop", metavar="HOUR", help="Last UTC hour to sample, inclusive; a bare day means all of it.")
@click.option(
    "--objects", type=click.IntRange(min=1), default=50, show_default=True, help="Maximum objects per dataset."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write NAME.yaml into this folder.")
@click.option("--check", is_flag=True, help="Write nothing; report whether the registry matches the data.")
@pass_invocation
def infer(
    invocation: Invocation,
    datasets: tuple[str, ...],
    start: str | None,
    stop: str | None,
    objects: int,
    out: Path | None,
    check: bool,
) -> int:
    """Write the files of the registry from a sample of the data, or check them against it."""
    if check and out:
        raise click.UsageError("--check writes nothing; remove --out")
    lake = invocation.open()
    if check:
        return invocation.show(lake.infer_check(datasets, start=start, stop=stop, objects=objects))
    return invocation.show(lake.infer(datasets, start=start, stop=stop, objects=objects, out=out))


@click.command(cls=Verb)
@click.option(
    "--dialect",
    type=click.Choice(["athena", "trino", "spark", "duckdb"]),
    default="athena",
    show_default=True,
    help="The engine to write for.",
)
@click.option(
    "--name", "names", multiple=True, metavar="NAME", help="Only this view and what it needs; can be repeated."
)
@click.option("--apply", is_flag=True, help="Create the views in Athena or Trino, instead of printing them.")
@click.option("--workgroup", metavar="NAME", help="With --apply: the workgroup of Athena; default: primary.")
@click.option("--output", metavar="S3-URL", help="With --apply: where Athena puts results, if its workgroup has none.")
@click.option("--server", metavar="URL", help="With --apply: Trino, as http://user@host:port/catalog.")
@pass_invocation
def views(
    invocation: Invocation,
    dialect: Dialect,
    names: tuple[str, ...],
    apply: bool,
    workgroup: str | None,
    output: str | None,
    server: str | None,
) -> int:
    """Print the statements that create the views in an engine, or create them."""
    if not apply and (workgroup or output or server):
        raise click.UsageError("--workgroup, --output and --server need --apply")
    report = invocation.open().views(dialect, names, apply=apply, workgroup=workgroup, output=output, server=server)
    return invocation.show(report)

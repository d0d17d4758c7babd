"""The verbs that load records: `compact` and `replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from compactor.cli.options import Invocation, Verb, datasets, if_running, pass_invocation

if TYPE_CHECKING:
    from compactor.config import EngineName, IfRunning


@click.command(cls=Verb)
@datasets
@click.option("--from", "start", metavar="HOUR", help="First UTC hour to load: 2026-11-01T05 or 2026-11-01.")
@click.option("--to", "stop", metavar="HOUR", help="Last UTC hour to load, inclusive; a bare day means all of it.")
@click.option("--full-scan", is_flag=True, help="List all hours, not only those that can have new objects.")
@if_running
@click.option("--engine", type=click.Choice(["local", "spark"]), help="What reads and merges; default: engine.")
@click.option("--allow-empty-source", is_flag=True, help="A source without any export is no failure.")
@pass_invocation
def compact(
    invocation: Invocation,
    datasets: tuple[str, ...],
    start: str | None,
    stop: str | None,
    full_scan: bool,
    if_running: IfRunning | None,
    engine: EngineName | None,
    allow_empty_source: bool,
) -> int:
    """Load all pending objects into the tables: the nightly job."""
    lake = invocation.open()
    with invocation.progress() as progress:
        report = lake.compact(
            datasets,
            start=start,
            stop=stop,
            full_scan=full_scan,
            if_running=if_running,
            engine=engine,
            allow_empty_source=allow_empty_source,
            progress=progress,
        )
    return invocation.show(report)


@click.command(cls=Verb)
@datasets
@if_running
@pass_invocation
def replay(invocation: Invocation, datasets: tuple[str, ...], if_running: IfRunning | None) -> int:
    """Read quarantined lines again, with the registry of today."""
    lake = invocation.open()
    with invocation.progress() as progress:
        report = lake.replay(datasets, if_running=if_running, progress=progress)
    return invocation.show(report)

"""The verb `acknowledge`."""

from __future__ import annotations

import click

from compactor.cli.options import Invocation, Verb, datasets, pass_invocation


@click.command(cls=Verb)
@datasets
@click.option("--object", "objects", multiple=True, metavar="KEY", help="This object, or its lines; can be repeated.")
@click.option("--line", type=click.IntRange(min=1), metavar="N", help="With one --object: only this line of it.")
@click.option("--reason", "reasons", multiple=True, metavar="NAME", help="Lines of this reason; can be repeated.")
@click.option("--because", metavar="TEXT", help="Why it is acknowledged, for those who read the list later.")
@click.option("--undo", is_flag=True, help="Take the acknowledgement back.")
@click.option("--list", "listing", is_flag=True, help="Show what is acknowledged. Changes nothing.")
@pass_invocation
def acknowledge(
    invocation: Invocation,
    datasets: tuple[str, ...],
    objects: tuple[str, ...],
    line: int | None,
    reasons: tuple[str, ...],
    because: str | None,
    undo: bool,
    listing: bool,
) -> int:
    """Set aside objects that cannot be read, or quarantined lines: they raise no alarm any more."""
    if listing and (objects or line or reasons or because or undo):
        raise click.UsageError("--list shows what is acknowledged; use it alone, or with --dataset")
    if undo and because:
        raise click.UsageError("--undo needs no --because")
    lake = invocation.open()
    if listing:
        return invocation.show(lake.acknowledged(datasets))
    if undo:
        return invocation.show(lake.acknowledge_undo(datasets, objects=objects, line=line, reasons=reasons))
    if because is None:
        raise click.UsageError("--because is needed: say why, for those who read the list later")
    report = lake.acknowledge(datasets, objects=objects, line=line, reasons=reasons, because=because)
    return invocation.show(report)

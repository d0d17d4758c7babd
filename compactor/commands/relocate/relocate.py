"""`relocate`: the metadata of a lake that was moved or copied is written again for its new place.

The files were copied before, by any tool. The plan looks at all that the tables name, at the new place alone. To carry
it out, the new metadata of all tables is written first, beside the copied files; nothing refers to it yet. Then the
catalog is made to name it, table by table, each in one atomic change that is refused if the catalog has another entry
by now. So it can be stopped at any point and run again, and the old place is neither read nor changed.
"""

from __future__ import annotations

import logging

from compactor.config import Config
from compactor.errors import CompactorError, ConflictError
from compactor.lake.catalog import Lakehouse
from compactor.lake.copied import CopiedTable, Move, Survey
from compactor.lake.own_tables import OWN_TABLES
from compactor.lake.relocation import Found, Misplaced, Relocation
from compactor.registry.loader import Registry
from compactor.reports.relocation import RelocateReport, TableRelocation

log = logging.getLogger(__name__)

Looked = list[tuple[Misplaced, CopiedTable | None, Survey]]


def plan(
    config: Config, registry: Registry, *, source: str | None, target: str | None, allow_missing: bool
) -> RelocateReport:
    """What `apply` would do. Changes nothing.

    Args:
        source: the old place. Default: where the catalog has the tables.
        target: the new place. Default: the warehouse of the config.
        allow_missing: files that are missing at the new place do not stand in the way.

    Raises:
        UsageError: the tables lie in several places, or at neither of the two that were named.
        CompactorError: the catalog or the storage failed.
    """
    relocation = Relocation(Lakehouse(config), target)
    found, looked = _look(relocation, registry, source)
    return _report(found, looked, allow_missing=allow_missing)


def apply(
    config: Config, registry: Registry, *, source: str | None, target: str | None, allow_missing: bool
) -> RelocateReport:
    """Relocates all tables, or none where a table has a problem. Arguments and errors are those of `plan`."""
    relocation = Relocation(Lakehouse(config), target)
    found, looked = _look(relocation, registry, source)
    report = _report(found, looked, allow_missing=allow_missing)
    if not report.is_possible:
        return _report(found, looked, allow_missing=allow_missing, refused=True)
    if found.move is None or not looked:
        return report
    written = [(copy, relocation.write(copy, survey)) for _, copy, survey in looked if copy is not None]
    relocation.move_namespace(found.move)  # first: once no table is left to relocate, nothing leads here again
    try:
        for copy, path in written:
            relocation.register(copy, path)
            log.info("table %s is at %s now", copy.name, copy.move.new(copy.location))
    except ConflictError as error:
        raise CompactorError(
            f"{error.cause} while the lake was relocated; stop what works on it with the old config, copy what it has"
            " added, then run again"
        ) from error
    return _report(found, looked, allow_missing=allow_missing, done=True)


def _look(relocation: Relocation, registry: Registry, source: str | None) -> tuple[Found, Looked]:
    names = [*OWN_TABLES]
    for dataset in registry.datasets.values():
        names += dataset.tables
    found = relocation.find(names, source)
    move = found.move or Move(found.target, found.target)
    return found, [(each, *relocation.look(each, move)) for each in found.misplaced]


def _report(
    found: Found, looked: Looked, *, allow_missing: bool, done: bool = False, refused: bool = False
) -> RelocateReport:
    tables = [_table(*each) for each in looked]
    tables += [TableRelocation(name, "in place") for name in found.in_place]
    tables += [TableRelocation(name, "elsewhere") for name in found.elsewhere]
    tables += [TableRelocation(name, "register", problems=(why,)) for name, why in found.unclear.items()]
    ordered = tuple(sorted(tables, key=lambda each: each.table))
    source = found.move.source if found.move else None
    return RelocateReport(source, found.target, ordered, done, refused, allow_missing)


def _table(table: Misplaced, copy: CopiedTable | None, survey: Survey) -> TableRelocation:
    return TableRelocation(
        table=table.name,
        state="register" if table.pointer is None else "relocate",
        source=copy.location if copy else table.root,
        target=copy.move.new(copy.location) if copy else None,
        snapshots=len(copy.snapshots) if copy else 0,
        files=survey.files,
        bytes=survey.bytes,
        metadata_files=survey.metadata_files,
        metadata_bytes=survey.metadata_bytes,
        missing=survey.missing,
        differing=survey.differing,
        examples=tuple(survey.examples),
        problems=tuple(survey.problems),
    )

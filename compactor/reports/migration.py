"""Reports of `migrate`: frozen values, as in `report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compactor.reports.report import OK, QUARANTINED, Report


@dataclass(frozen=True)
class TableMigration:
    """The changes of a migration to one table.

    Attributes:
        in_place: sentences about changes of metadata alone.
        rewritten: sentences about columns whose data change.
        files, rows, bytes: the data to rewrite; 0 if all changes are in place.
        breaks: sentences about columns that are removed or renamed, and may be named in today's queries.
    """

    table: str
    from_version: int
    to_version: int
    in_place: tuple[str, ...]
    rewritten: tuple[str, ...]
    files: int
    rows: int
    bytes: int
    breaks: tuple[str, ...]


@dataclass(frozen=True)
class MigrationPlan(Report):
    """What `migrate apply` will do. `plan_id` identifies the plan: it depends on the registry and the tables."""

    plan_id: str
    tables: tuple[TableMigration, ...] = ()


@dataclass(frozen=True)
class MigrationReport(Report):
    """What `migrate apply` did.

    Attributes:
        tags: dataset -> tag of the state before, to which it can be rolled back.
        quarantined: dataset -> rows that could not be migrated to the new version, and are in the quarantine.
        unfit: dataset -> promoted column -> rows of the history whose value does not fit it: it is in the map alone.
            A column that was filled before is not counted again.
    """

    run_id: str
    plan: MigrationPlan
    tags: Mapping[str, str] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)
    unfit: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """3 if rows were quarantined, else 0."""
        return QUARANTINED if any(self.quarantined.values()) else OK


@dataclass(frozen=True)
class DatasetRollback:
    """The rollback of a dataset to a tag.

    Attributes:
        objects: objects that were loaded since the tag. After the rollback they are pending again.
        lines, new: their lines and new records, from the ledger.
    """

    dataset: str
    tag: str
    from_version: int
    to_version: int
    objects: int
    lines: int
    new: int


@dataclass(frozen=True)
class RollbackReport(Report):
    """What `migrate rollback` did or, if not `done`, will do."""

    done: bool
    datasets: tuple[DatasetRollback, ...] = ()

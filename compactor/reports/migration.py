"""What a migration or a rollback changes, or would: frozen values, as in `report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compactor.reports.report import OK, QUARANTINED, Report


@dataclass(frozen=True)
class TableMigration:
    """What a migration changes in one table, in words. `files`, `rows` and `bytes` are to be rewritten: none in place.

    `in_place` are changes of metadata alone, `rewritten` the columns whose data change, `breaks` what becomes of
    columns that queries of today may name.
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
    """What `migrate apply` would do. `plan_id` names it: another registry or another table makes another id."""

    plan_id: str
    tables: tuple[TableMigration, ...] = ()


@dataclass(frozen=True)
class MigrationReport(Report):
    """What `migrate apply` did: its plan, the tag that each dataset can be rolled back to, and how many rows went to
    the quarantine because they could not be brought to the new shape.
    """

    run_id: str
    plan: MigrationPlan
    tags: Mapping[str, str] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """3 if rows were quarantined, else 0."""
        return QUARANTINED if any(self.quarantined.values()) else OK


@dataclass(frozen=True)
class DatasetRollback:
    """What a rollback of a dataset takes back: to which tag and version, and what was loaded since.

    `objects` are pending again afterwards; `lines` and `new` are what the ledger says of them.
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
    """What `migrate rollback` did, or would do."""

    done: bool
    datasets: tuple[DatasetRollback, ...] = ()

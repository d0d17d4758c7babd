"""What each verb found or did, as frozen values: `to_json()` for programs, `exit_code` for schedulers.

The numbers of a dataset keep the contract's sum: lines = new + duplicates + quarantined. Bytes are bytes, times are
aware datetimes in UTC, durations are seconds. Nothing here holds record content: table names, keys, reasons, counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

OK, FAILED, QUARANTINED = 0, 1, 3
DriftStatus = Literal["new", "vanished", "conflict", "steady", "unseen"]


@dataclass(frozen=True)
class DatasetReport:
    """What one run did for one dataset.

    `objects` were loaded, `ignored` lie under the prefix but are not ours, `failed` were left pending as (key, reason).
    `unknown_versions` gives, for each version of quarantined lines that the tables do not have, why, and what to do.
    `raw_bytes` are uncompressed. `unknown_fields` counts accepted lines with a field that the registry does not know.
    `snapshots` gives, per table, the id of the last snapshot that this run committed.
    """

    dataset: str
    objects: int = 0
    lines: int = 0
    new: int = 0
    duplicates: int = 0
    quarantined: int = 0
    raw_bytes: int = 0
    unknown_fields: int = 0
    ignored: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    unknown_versions: tuple[tuple[str, str], ...] = ()
    snapshots: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        failed = [{"key": key, "reason": reason} for key, reason in self.failed]
        unknown = [{"version": int(version), "reason": why} for version, why in self.unknown_versions]
        return {**_plain(self), "failed": failed, "unknown_versions": unknown}


@dataclass(frozen=True)
class RunReport:
    """One run of `compact` or `replay` over its datasets."""

    run_id: str
    started_at: datetime
    finished_at: datetime
    datasets: tuple[DatasetReport, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if an object was left pending, else 3 if a line was quarantined in this run, else 0."""
        if any(dataset.failed for dataset in self.datasets):
            return FAILED
        return QUARANTINED if any(dataset.quarantined for dataset in self.datasets) else OK

    def to_json(self) -> dict[str, Any]:
        datasets = [dataset.to_json() for dataset in self.datasets]
        return {**_plain(self), "datasets": datasets, "exit_code": self.exit_code}


@dataclass(frozen=True)
class TableStatus:
    """One table as its current snapshot shows it.

    `newest` is the greatest order column of its rows. `newest` and `snapshot_id` are None while the table has no rows.
    """

    table: str
    rows: int
    newest: datetime | None
    data_files: int
    bytes: int
    snapshot_id: int | None


@dataclass(frozen=True)
class PendingObjects:
    """Objects of one dataset that the source lists and no run has loaded yet; `bytes` are compressed."""

    objects: int
    bytes: int


@dataclass(frozen=True)
class StatusReport:
    """Where the lake stands. `pending` is by dataset, `runs` the last five rows of `compactor_runs`, newest first,
    `quarantine` the rows of `compactor_quarantine` by dataset and reason.
    """

    tables: tuple[TableStatus, ...] = ()
    pending: Mapping[str, PendingObjects] = field(default_factory=dict)
    runs: tuple[Mapping[str, Any], ...] = ()
    quarantine: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Always 0: to look is never a failure."""
        return OK

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "exit_code": self.exit_code}


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
class MigrationPlan:
    """What `migrate apply` would do. `plan_id` names it: another registry or another table makes another id."""

    plan_id: str
    tables: tuple[TableMigration, ...] = ()

    @property
    def exit_code(self) -> int:
        """Always 0: to look is never a failure."""
        return OK

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "exit_code": self.exit_code}


@dataclass(frozen=True)
class MigrationReport:
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

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "exit_code": self.exit_code}


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
class RollbackReport:
    """What `migrate rollback` did, or would do."""

    done: bool
    datasets: tuple[DatasetRollback, ...] = ()

    @property
    def exit_code(self) -> int:
        """Always 0; a rollback that fails raises."""
        return OK

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "exit_code": self.exit_code}


@dataclass(frozen=True)
class Check:
    """One check of one table. `detail` says in words what was counted, and what to do next if `ok` is False."""

    name: str
    table: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class VerifyReport:
    """All checks of `verify`, passed and failed."""

    checks: tuple[Check, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a check failed, else 0."""
        return OK if all(check.ok for check in self.checks) else FAILED

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "exit_code": self.exit_code}


@dataclass(frozen=True)
class FieldDrift:
    """A key of a map column, an unknown field, or an optional field that the registry declares, as the records have it.

    Attributes:
        source: the map column, or `extra`; None for a declared field.
        key: the key in it, or the field's JSON key.
        records: how many have it. A declared field that is null counts as absent, a key whose value is null does not.
        share: `records` of all, 0 to 1.
        first_seen, last_seen: `emitted_at` of the first and the last such record; None if there is none.
        types: values per type, as they are or, in a map of bare texts, as they read.
        type: the one type of all of them; None if they are of several, or all null.
        status: `conflict` goes before the others; `unseen` is a declared field that no record has.
        promoted: the column that the registry gives this key; None without one.
    """

    source: str | None
    key: str
    records: int
    share: float
    first_seen: datetime | None
    last_seen: datetime | None
    types: Mapping[str, int]
    type: str | None
    status: DriftStatus
    promoted: str | None = None


@dataclass(frozen=True)
class DatasetDrift:
    """What the table with each record once says of a dataset.

    Attributes:
        newest: the greatest `emitted_at`; None while the table has no records.
        crowded: map columns with too many distinct keys to be fields, and how many; none of their keys is in `fields`.
        promote: YAML for the registry file `file`, or empty; it `replaces_promote`, the list that stands there, or not.
    """

    dataset: str
    table: str
    records: int
    newest: datetime | None
    fields: tuple[FieldDrift, ...] = ()
    crowded: Mapping[str, int] = field(default_factory=dict)
    promote: str = ""
    replaces_promote: bool = False
    file: str = ""


@dataclass(frozen=True)
class DriftReport:
    """What has drifted within `days`. `missing` are the datasets that have no table yet."""

    days: int
    datasets: tuple[DatasetDrift, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """Always 0: drift is no failure."""
        return OK

    def to_json(self) -> dict[str, Any]:
        return {**_plain(self), "exit_code": self.exit_code}


Report = RunReport | StatusReport | VerifyReport | DriftReport | MigrationPlan | MigrationReport | RollbackReport


def _plain(value: Any) -> Any:
    """`value` with dataclasses as dicts, tuples as lists and times as ISO 8601 in UTC, ending in Z."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: _plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value

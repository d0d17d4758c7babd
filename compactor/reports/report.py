"""What each verb found or did, as frozen values: `to_json()` for programs, `exit_code` for schedulers.

The numbers of a dataset keep the contract's sum: lines = new + duplicates + quarantined. Bytes are bytes, times are
aware datetimes in UTC, durations are seconds. Nothing here holds record content: table names, keys, reasons, counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from compactor.version import __version__

OK, FAILED, QUARANTINED = 0, 1, 3


class Report:
    """What a verb found or did, as a dataclass. To look is never a failure, so 0 is the exit code of most."""

    @property
    def exit_code(self) -> int:
        return OK

    def to_json(self) -> dict[str, Any]:
        """The whole report, with its `exit_code` and the `version` of the program."""
        return self._with_ending(plain(self))

    def _with_ending(self, content: dict[str, Any]) -> dict[str, Any]:
        return {**content, "exit_code": self.exit_code, "version": __version__}


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
        return {**plain(self), "failed": failed, "unknown_versions": unknown}


@dataclass(frozen=True)
class RunReport(Report):
    """One run of `compact` or `replay` over its datasets. `left_to`: it did nothing, because that run was under way."""

    run_id: str
    started_at: datetime
    finished_at: datetime
    datasets: tuple[DatasetReport, ...] = ()
    left_to: str | None = None

    @property
    def exit_code(self) -> int:
        """1 if an object was left pending, else 3 if a line was quarantined in this run, else 0."""
        if any(dataset.failed for dataset in self.datasets):
            return FAILED
        return QUARANTINED if any(dataset.quarantined for dataset in self.datasets) else OK

    def to_json(self) -> dict[str, Any]:
        datasets = [dataset.to_json() for dataset in self.datasets]
        return self._with_ending({**plain(self), "datasets": datasets})


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
class StatusReport(Report):
    """Where the lake stands. `pending` is by dataset, `runs` the last five rows of `compactor_runs`, newest first,
    `quarantine` the rows of `compactor_quarantine` by dataset and reason.
    """

    tables: tuple[TableStatus, ...] = ()
    pending: Mapping[str, PendingObjects] = field(default_factory=dict)
    runs: tuple[Mapping[str, Any], ...] = ()
    quarantine: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One check of one table. `detail` says in words what was counted, and what to do next if `ok` is False."""

    name: str
    table: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Repair:
    """What is wrong with a table, and what mends it.

    `possible`: `verify --repair --yes` does `action`, which writes `rows` rows and exchanges `files` files; else
    `action` is what the operator can do, and `wrong` says what is lost. `done`: it was carried out.
    """

    table: str
    wrong: str
    action: str
    possible: bool = True
    done: bool = False
    rows: int = 0
    files: int = 0


@dataclass(frozen=True)
class VerifyReport(Report):
    """All checks of `verify`, passed and failed; with `--repair` also its plan, else None."""

    checks: tuple[Check, ...] = ()
    repairs: tuple[Repair, ...] | None = None

    @property
    def exit_code(self) -> int:
        """1 if a check failed, else 0."""
        return OK if all(check.ok for check in self.checks) else FAILED

    def to_json(self) -> dict[str, Any]:
        found = plain(self)
        if self.repairs is None:
            del found["repairs"]
        return self._with_ending(found)


@dataclass(frozen=True)
class View:
    """A view for one engine: `sql` is its query, `create` the statement that makes it, `ask` how it may be asked."""

    name: str
    description: str
    create: str
    sql: str
    ask: str


@dataclass(frozen=True)
class LeftOut:
    """A view that cannot be had, and why: what the tables have not, and what to do about it."""

    name: str
    reason: str


@dataclass(frozen=True)
class ViewsReport(Report):
    """The views in the order in which they can be made. `made`: they were, in the engine."""

    dialect: str
    namespace: str
    views: tuple[View, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    made: bool = False


def plain(value: Any) -> Any:
    """`value` with dataclasses as dicts, tuples as lists and times as ISO 8601 in UTC, ending in Z."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value

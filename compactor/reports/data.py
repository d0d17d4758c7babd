"""What `drift` and `infer` found in the data: frozen values, as in `report`, with names and counts and no value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from compactor.reports.report import FAILED, OK, Report, plain

DriftStatus = Literal["new", "vanished", "conflict", "steady", "unseen"]


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
class DriftReport(Report):
    """What has drifted within `days`. `missing` are the datasets that have no table yet."""

    days: int
    datasets: tuple[DatasetDrift, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class InferredDataset:
    """What the sample of one dataset folder gave.

    `objects` of `listed` were read, `lines` of them, of which `bad` by reason. `unreadable` are (key, reason).
    `yaml` is the registry's file; None if there was no record to write it from, and then `problem` says why. `path` is
    where it was written to, `checks` the number of places in it to check.
    """

    dataset: str
    objects: int
    listed: int
    lines: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    yaml: str | None = None
    checks: int = 0
    path: str | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**plain(self), "unreadable": [{"key": key, "reason": reason} for key, reason in self.unreadable]}


@dataclass(frozen=True)
class InferReport(Report):
    """What `infer` wrote, by dataset."""

    datasets: tuple[InferredDataset, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a dataset could not be inferred, else 0."""
        return OK if all(dataset.yaml is not None for dataset in self.datasets) else FAILED

    def to_json(self) -> dict[str, Any]:
        return self._with_ending({"datasets": [dataset.to_json() for dataset in self.datasets]})


@dataclass(frozen=True)
class Finding:
    """Something in which registry and data differ. `fits`: only told, because nothing is lost by it."""

    dataset: str
    what: str
    detail: str
    fits: bool = False


@dataclass(frozen=True)
class FitReport(Report):
    """How the registry fits the sample. `lines` and `rejected` are the sample's lines and those to be quarantined."""

    findings: tuple[Finding, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """1 if the registry does not fit, else 0."""
        return OK if all(finding.fits for finding in self.findings) else FAILED

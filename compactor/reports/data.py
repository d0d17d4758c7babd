"""Reports of `drift` and `infer`: frozen values, as in `report`. They hold names and counts, never values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from compactor.reports.report import FAILED, OK, Problem, Report, plain

DriftStatus = Literal["new", "vanished", "conflict", "steady", "unseen"]


@dataclass(frozen=True)
class FieldDrift:
    """A key of a map column, an undeclared field, or an optional field that the registry declares.

    Attributes:
        source: the map column, or `extra`; None for a declared field.
        key: the key in it, or the field's JSON key.
        records: the number of records that have it. A declared field that is null counts as absent; a key whose value
            is null counts as present.
        share: `records` divided by all records, 0 to 1.
        first_seen, last_seen: `emitted_at` of the first and the last such record; None if there is none.
        types: type -> values of it. In a map of bare texts, the type that the text reads as.
        type: of a column that holds all values; None if there is none, or all are null.
        status: `conflict` (values of several types) comes before the others; `unseen` is a declared field that no
            record has.
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
    """The fields and keys of a dataset, counted in its history table.

    Attributes:
        newest: the greatest `emitted_at`; None if the table has no records.
        crowded: map column with too many distinct keys to be fields -> their number. None of them is in `fields`.
        hidden: map column -> number of its keys that may be values, such as addresses. None of them is in `fields`.
        promote: YAML for the registry file `file`; empty if nothing is suggested.
        replaces_promote: the file has a `promote` list already, and this one replaces it.
    """

    dataset: str
    table: str
    records: int
    newest: datetime | None
    fields: tuple[FieldDrift, ...] = ()
    crowded: Mapping[str, int] = field(default_factory=dict)
    hidden: Mapping[str, int] = field(default_factory=dict)
    promote: str = ""
    replaces_promote: bool = False
    file: str = ""


@dataclass(frozen=True)
class DriftReport(Report):
    """The drift within the last `days`.

    Attributes:
        missing: datasets that have no table yet.
        problems: the datasets whose history cannot be read.
    """

    days: int
    datasets: tuple[DatasetDrift, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class InferredDataset:
    """The draft for one dataset.

    Attributes:
        objects, listed: how many objects were read, and how many there are.
        lines: lines that were read.
        bad: those that are not records, by reason.
        unreadable: (key, reason) of the objects that could not be read.
        yaml: the registry's file; None if it could not be drafted.
        checks: number of places in it that say `check this`.
        path: where it was written to; None if it was not.
        problem: why there is no `yaml`.
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
    """The drafts of `infer`, by dataset."""

    datasets: tuple[InferredDataset, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a dataset could not be inferred, else 0."""
        return OK if all(dataset.yaml is not None for dataset in self.datasets) else FAILED

    def to_json(self) -> dict[str, Any]:
        return self._with_ending({"datasets": [dataset.to_json() for dataset in self.datasets]})


@dataclass(frozen=True)
class Finding:
    """A difference between registry and data. `fits`: nothing is lost by it, so the check does not fail."""

    dataset: str
    what: str
    detail: str
    fits: bool = False


@dataclass(frozen=True)
class RegistryCheckReport(Report):
    """The result of the registry check. By dataset: `lines` of the sample, and those that would be `rejected`."""

    findings: tuple[Finding, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """1 if the registry does not fit, else 0."""
        return OK if all(finding.fits for finding in self.findings) else FAILED

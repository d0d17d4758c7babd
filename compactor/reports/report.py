"""The results of the verbs, as frozen values: `to_json()` for programs, `exit_code` for schedulers.

For each dataset: lines = new + duplicates + quarantined. Sizes are bytes, times are aware datetimes in UTC, durations
are seconds. Reports hold names of tables, keys, reasons and counts, never the content of records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from compactor.request_counts import Requests
from compactor.version import __version__

OK, FAILED, QUARANTINED = 0, 1, 3


@dataclass(frozen=True)
class Problem:
    """Something that needs a person.

    Attributes:
        subject: the dataset, table or place that it concerns.
        wrong: what is wrong, as a clause.
        step: the next step, as an imperative.
        fails: the verb ends with exit code 1 because of it.
    """

    subject: str
    wrong: str
    step: str
    fails: bool = False

    def __str__(self) -> str:
        return f"{self.subject}: {self.wrong}; {self.step}"


class Report:
    """The result of a verb, as a dataclass.

    Attributes:
        problems: what needs a person. Empty for a verb that reports none.
    """

    problems: tuple[Problem, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 if a problem is one that fails, else 0, unless the verb says otherwise."""
        return FAILED if any(problem.fails for problem in self.problems) else OK

    @property
    def error(self) -> str | None:
        """The failing problems as one sentence; None without one. What several subjects share is said once."""
        failing = said_once(problem for problem in self.problems if problem.fails)
        return _first_of([str(problem) for problem in failing], "problem")

    def to_json(self) -> dict[str, Any]:
        """The whole report, with its `exit_code`, the `version` of the program and, if it failed so, its `error`."""
        return self._with_ending(plain(self))

    def _with_ending(self, content: dict[str, Any]) -> dict[str, Any]:
        error = {"error": self.error} if self.error else {}
        return {**content, **error, "exit_code": self.exit_code, "version": __version__}


def said_once(problems: Iterable[Problem]) -> list[Problem]:
    """The problems, those that differ in their subjects alone as one."""
    subjects: dict[tuple[str, str, bool], list[str]] = {}
    for each in problems:
        subjects.setdefault((each.wrong, each.step, each.fails), []).append(each.subject)
    return [Problem(", ".join(dict.fromkeys(found)), *what) for what, found in subjects.items()]


def _first_of(sentences: Sequence[str], noun: str) -> str | None:
    if not sentences:
        return None
    more = f" (the first of {len(sentences):,} {noun}s; the report has all)" if sentences[1:] else ""
    return f"{sentences[0]}{more}"


@dataclass(frozen=True)
class DatasetReport:
    """What one run did for one dataset.

    Attributes:
        objects: objects that were loaded.
        lines: their lines that are not blank; the sum of `new`, `duplicates` and `quarantined`.
        acknowledged_lines: how many of `quarantined` a person has acknowledged.
        acknowledged_objects: objects that cannot be read and that a person has acknowledged; they were not read again.
        raw_bytes: their uncompressed size.
        unknown_fields: accepted lines with a field that the registry does not declare.
        unfit: promoted column -> accepted lines whose value does not fit it: it is in the map alone.
        ignored: objects whose key does not match the key pattern of an export.
        failed: (key, reason) of the objects that were left pending.
        columns_left: fields that `additive: evolve` would make columns of if there were not too many already.
        reasons: quarantined lines by reason.
        beyond_replay: quarantined lines that are not records, whatever the registry says.
        unknown_versions: (version, reason, lines) of quarantined lines with a version that the tables do not have: the
            ten that most lines have. The reason ends with the next step. The version is empty if it may be a value.
        no_records: (what they look like, objects, one of them) of objects with hardly a line of JSON. What they look
            like is empty if it is nothing known.
        snapshots: table -> id of the last snapshot that this run committed.
        seconds: the duration.
        listed: objects of the dataset that the source has, of the hours that the run looked at.
    """

    dataset: str
    objects: int = 0
    lines: int = 0
    new: int = 0
    duplicates: int = 0
    quarantined: int = 0
    acknowledged_lines: int = 0
    acknowledged_objects: int = 0
    raw_bytes: int = 0
    unknown_fields: int = 0
    unfit: Mapping[str, int] = field(default_factory=dict)
    ignored: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    columns_left: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    beyond_replay: int = 0
    unknown_versions: tuple[tuple[str, str, int], ...] = ()
    no_records: tuple[tuple[str, int, str], ...] = ()
    snapshots: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    listed: int = 0

    def to_json(self) -> dict[str, Any]:
        failed = [{"key": key, "reason": reason} for key, reason in self.failed]
        unknown = [
            {"version": int(version) if version else None, "reason": why, "lines": lines}
            for version, why, lines in self.unknown_versions
        ]
        alike = [
            {"looks_like": what or None, "objects": objects, "example": key} for what, objects, key in self.no_records
        ]
        return {**plain(self), "failed": failed, "unknown_versions": unknown, "no_records": alike}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What its numbers say that needs a person."""
        found = [
            Problem(
                self.dataset,
                f"{objects:,} of the objects looked like {what}, such as {key}"
                if what
                else f"{objects:,} of the objects had hardly a line of JSON, such as {key}",
                "have it delivered again as one JSON object per line, in UTF-8, because a replay cannot read it",
            )
            for what, objects, key in self.no_records
        ]
        if self.columns_left:
            found.append(
                Problem(
                    self.dataset,
                    f"{self.columns_left:,} new fields stay in `extra` alone, because runs have made too many columns",
                    "declare the fields that you need in the registry, or set `additive: capture`",
                )
            )
        return tuple(found)


@dataclass(frozen=True)
class RunReport(Report):
    """One run of `compact` or `replay`.

    Attributes:
        left_to: the run in progress, because of which this one did nothing.
        problems: what needs a person, beside the objects that were left pending.
        requests: what the run asked of storage and catalog; None where it is not counted.
    """

    run_id: str
    started_at: datetime
    finished_at: datetime
    datasets: tuple[DatasetReport, ...] = ()
    left_to: str | None = None
    problems: tuple[Problem, ...] = ()
    requests: Requests | None = None

    @property
    def exit_code(self) -> int:
        """1 if a dataset failed or an object was left pending, else 3 if a line is newly in quarantine, else 0.

        A line that a person has acknowledged does not count.
        """
        if any(dataset.failed for dataset in self.datasets):
            return FAILED
        new = any(dataset.quarantined > dataset.acknowledged_lines for dataset in self.datasets)
        return super().exit_code or (QUARANTINED if new else OK)

    @property
    def error(self) -> str | None:
        """The failing problems or, without one, the objects left pending, as one sentence; None without either."""
        pending = [named(key, reason) for dataset in self.datasets for key, reason in dataset.failed]
        return super().error or _first_of(pending, "object")

    def to_json(self) -> dict[str, Any]:
        datasets = [dataset.to_json() for dataset in self.datasets]
        return self._with_ending({**plain(self), "datasets": datasets})


@dataclass(frozen=True)
class TableStatus:
    """One table at its current snapshot.

    `newest` is the greatest value of the order column. It and `snapshot_id` are None if the table has no rows.
    """

    table: str
    rows: int
    newest: datetime | None
    data_files: int
    bytes: int
    snapshot_id: int | None


@dataclass(frozen=True)
class PendingObjects:
    """The objects of one dataset that no run has loaded yet, without acknowledged ones. `bytes`: compressed size."""

    objects: int
    bytes: int


@dataclass(frozen=True)
class Acknowledged:
    """What a person has set aside of one dataset, as far as it is still there.

    Attributes:
        objects: objects that cannot be read, beside those that are pending.
        lines: reason -> rows of `compactor_quarantine`, among all that are there.
    """

    objects: int = 0
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StatusReport(Report):
    """The state of the lake.

    Attributes:
        pending: by dataset.
        runs: the rows of `compactor_runs` of the last five runs, the newest first; `failures` are (key, reason).
        quarantine: dataset -> reason -> rows of `compactor_quarantine`.
        acknowledged: by dataset; without datasets of which nothing is acknowledged.
        problems: what needs a person.
    """

    tables: tuple[TableStatus, ...] = ()
    pending: Mapping[str, PendingObjects] = field(default_factory=dict)
    runs: tuple[Mapping[str, Any], ...] = ()
    quarantine: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    acknowledged: Mapping[str, Acknowledged] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Check:
    """One check of one table. `detail`: what was counted and, if the check failed, the next step."""

    name: str
    table: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Repair:
    """A damage of a table, and its repair.

    Attributes:
        wrong: the damage.
        action: what `verify --repair --yes` does. If it is not `possible`: what the operator can do.
        possible: the program can repair it.
        done: the program has repaired it.
        rows, files: how many rows `action` writes, and how many data files it replaces.
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
    """All checks of `verify`. `repairs`: the plan of `--repair`; None without that option."""

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


def named(key: str, reason: str) -> str:
    """The reason why an object could not be read, with its key."""
    return reason if key in reason else f"{key}: {reason}"


def plain(value: Any) -> Any:
    """`value` with dataclasses as dicts, tuples as lists and times as ISO 8601 in UTC, ending in Z.

    Ids of snapshots are texts: they exceed 2**53, and many readers of JSON would round them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(_id_text(part.name, getattr(value, part.name))) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: str(item) if key in _SNAPSHOT_IDS and item else plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


_SNAPSHOT_IDS = ("snapshot_id", "history_snapshot_id", "current_snapshot_id")


def _id_text(name: str, value: Any) -> Any:
    """The value of an attribute, with ids of snapshots as texts."""
    if name == "snapshots" and isinstance(value, Mapping):
        return {table: str(snapshot) for table, snapshot in value.items()}
    return str(value) if name in _SNAPSHOT_IDS and value is not None else value

"""The registry check (`infer --check`): compares the registry with a sample of the data, line by line.

Each line is decoded as `compact` decodes it, so the rejected lines are counted exactly. A few rejected lines (less than
1%, or one of more than 10) are reported but do not fail the check: every export has some bad lines.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from compactor.commands.infer import sample
from compactor.commands.infer.evidence import DELETE_WORDS, VersionEvidence, field_type, share
from compactor.commands.infer.infer import OBJECTS
from compactor.config import Config
from compactor.decode.exact import as_type, read_object, read_record
from compactor.decode.rejects import DEPENDS_ON_REGISTRY, Reject
from compactor.errors import SourceError
from compactor.registry.dataset import Dataset
from compactor.registry.loader import Registry
from compactor.reports.data import Finding, RegistryCheckReport
from compactor.source import Hour, open_source
from compactor.types.field_type import LONG

_MAX_REASONS = 50
_MAX_UNKNOWN = 20

log = logging.getLogger(__name__)


@dataclass
class _Tally:
    """Counts of the lines of a dataset, against its registry.

    Attributes:
        lines: lines that are not blank.
        rejected: lines by (reason, detail), as the quarantine would have them.
        fields: the fields of the records whose version the registry has.
        versions: the registry's versions that occur.
        missing, wrong: by JSON name, the records in which a required field is absent or null, or a field has another
            type. A rejection names only the first such field of a record; these count every one.
    """

    lines: int = 0
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    fields: VersionEvidence = field(default_factory=VersionEvidence)
    versions: set[int] = field(default_factory=set)
    missing: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)


def check(
    config: Config,
    registry: Registry,
    *,
    datasets: tuple[str, ...] = (),
    start: Hour | None = None,
    stop: Hour | None = None,
    objects: int = OBJECTS,
) -> RegistryCheckReport:
    """Compares the registry with a sample of the datasets.

    Args:
        datasets: names in the registry or the source. Default: all of both.
        start, stop: read only objects of these hours, both inclusive.
        objects: read at most so many objects of each dataset.

    Raises:
        UsageError: a dataset that neither the registry nor the source has.
        SourceError: the source cannot be listed; what fails for one dataset is a finding.
    """
    source = open_source(config.source)
    folders = sample.folders(source, tuple(name for name in datasets if name not in registry.datasets))
    chosen = sorted(set(datasets) or {*folders, *registry.datasets})
    present = {*source.datasets()}
    findings: list[Finding] = []
    lines: dict[str, int] = {}
    rejected: dict[str, int] = {}
    for name in chosen:
        if name not in registry.datasets:
            findings.append(Finding(name, "dataset", "is in the source, but not in the registry, so it is not loaded"))
            continue
        if name not in present:
            findings.append(Finding(name, "dataset", "is in the registry, but not in the source", fits=True))
            continue
        try:
            taken = sample.choose(source, name, start, stop, objects)
            tally = _tally(sample.read(taken, source.open, config.limits), registry.get(name))
        except SourceError as error:
            findings.append(Finding(name, "dataset", str(error)))
            continue
        lines[name], rejected[name] = tally.lines, sum(tally.rejected.values())
        findings += _findings(registry.get(name), tally)
        findings += (Finding(name, "object", reason, fits=True) for _, reason in taken.unreadable)
    return RegistryCheckReport(tuple(findings), lines, rejected)


def _tally(lines: Iterable[bytes | Reject], dataset: Dataset) -> _Tally:
    tally = _Tally()
    for line in lines:
        record = read_object(line) if isinstance(line, bytes) else line
        if record is None:
            continue
        tally.lines += 1
        row = record if isinstance(record, Reject) else read_record(record, dataset)
        if isinstance(row, Reject):
            # The position in a broken line differs from line to line, so it is not part of the reason.
            detail = row.detail if row.reason in DEPENDS_ON_REGISTRY else ""
            known = (row.reason, detail) in tally.rejected or len(tally.rejected) < _MAX_REASONS
            tally.rejected[row.reason, detail if known else "and other details"] += 1
        if not isinstance(record, Reject):
            _count_fields(tally, record, dataset, rejected=isinstance(row, Reject))
    tally.fields.hide_scattered()
    return tally


def _count_fields(tally: _Tally, record: dict[str, Any], dataset: Dataset, *, rejected: bool) -> None:
    number = as_type(record.get(dataset.version_field.json), LONG)
    if number not in dataset.versions:
        return
    tally.versions.add(number)
    tally.fields.add(record)
    for each in dataset.versions[number].fields if rejected else ():
        value = record.get(each.json)
        if value is None:
            tally.missing[each.json] += each.required
        elif as_type(value, each.type) is None:
            tally.wrong[each.json] += 1


def _findings(dataset: Dataset, tally: _Tally) -> Iterator[Finding]:
    name, records = dataset.name, tally.fields.records
    if not tally.lines:
        yield Finding(name, "lines", "none in the sample", fits=True)
        return
    for (reason, detail), count in tally.rejected.most_common():
        text = f"{count:,} of {tally.lines:,} lines would be quarantined: {reason}{f', {detail}' if detail else ''}"
        yield Finding(name, "lines", text, fits=reason not in DEPENDS_ON_REGISTRY or _is_stray(count, tally.lines))
    for field_name, column in _known(dataset, tally.versions).items():
        yield from _of_field(dataset, tally, field_name, column)
    yield from _unknown(dataset, tally, records)
    yield from _deletes(dataset, tally)


def _is_stray(count: int, whole: int) -> bool:
    """Whether so few are affected that the check passes: less than 1%, or one of more than 10."""
    return 100 * count < whole or (count == 1 and whole > 10)


def _known(dataset: Dataset, versions: Iterable[int]) -> dict[str, str]:
    """JSON name -> column, of the versions that occur."""
    return {each.json: each.column for number in sorted(versions) for each in dataset.versions[number].fields}


def _of_field(dataset: Dataset, tally: _Tally, name: str, column: str) -> Iterator[Finding]:
    seen, records = tally.fields.fields.get(name), tally.fields.records
    role = "key" if column in dataset.key else "order" if column == dataset.order else "field"
    if count := tally.missing[name]:
        text = f"{name}: required, but absent or null in {count:,} of {records:,} records"
        yield Finding(dataset.name, role, text, fits=_is_stray(count, records))
    if seen is None:
        if not tally.missing[name]:
            yield Finding(dataset.name, role, f"{name}: in the registry, but in none of {records:,} records")
    elif count := tally.wrong[name]:
        declared = next(
            each.type for number in tally.versions for each in dataset.versions[number].fields if each.json == name
        )
        type_, remark = field_type(seen)
        text = (
            f"{name}: {declared} in the registry, but not in {count:,} of {records:,} records"
            f" (all values: {type_ or remark})"
        )
        yield Finding(dataset.name, role, text, fits=_is_stray(count, records))


def _unknown(dataset: Dataset, tally: _Tally, records: int) -> Iterator[Finding]:
    known = {*_known(dataset, dataset.versions), *(each.key for each in dataset.promoted if each.source == "extra")}
    names = [name for name in tally.fields.fields if name not in known]
    for name in names[:_MAX_UNKNOWN]:
        seen = tally.fields.fields[name]
        type_, remark = field_type(seen)
        text = f"{name}: {type_ or remark}, in {share(seen.records, records)} of the records; kept in extra"
        yield Finding(dataset.name, "unknown field", text, fits=True)
    if more := names[_MAX_UNKNOWN:]:
        yield Finding(dataset.name, "unknown field", f"{len(more):,} more; kept in extra", fits=True)


def _deletes(dataset: Dataset, tally: _Tally) -> Iterator[Finding]:
    """Delete words that no delete rule names: such a record would become the newest state."""
    if dataset.kind == "events":
        return
    columns = _known(dataset, tally.versions)
    for name, seen in tally.fields.fields.items():
        has_rule = dataset.delete is not None and columns.get(name) == dataset.delete.column
        values = dataset.delete.values if dataset.delete and has_rule else ()
        words = [word for word in seen.words if word.lower() in DELETE_WORDS and word not in values] if seen.few else []
        for word in words:
            text = f"{name} is '{word}' in {share(seen.words[word], seen.filled)}, which no delete rule names"
            yield Finding(dataset.name, "delete", text, fits=not has_rule)

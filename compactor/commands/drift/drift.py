"""Additive drift: which undeclared fields and keys arrive, since when, of which types, and which could be columns.

A new field, or a customer's new trait, arrives without announcement. It is kept in `extra` or in a map column. This
report shows it. The report holds keys and counts, never values, and no key that may be a value.
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import yaml

from compactor.commands.drift.counts import Count, count, only_type
from compactor.config import Config
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import Table
from compactor.registry.dataset import EXTRA, Dataset, Promotion
from compactor.registry.fields import Field, free_column, may_be_value, names_version
from compactor.registry.loader import Registry
from compactor.reports.data import DatasetDrift, DriftReport, DriftStatus, FieldDrift
from compactor.reports.problems import collected
from compactor.reports.report import Problem
from compactor.types import field_type
from compactor.types.field_type import DOUBLE, LONG, MAP, STRING


def drift(
    config: Config, registry: Registry, *, datasets: tuple[str, ...] = (), days: int = 7, min_share: float = 1.0
) -> DriftReport:
    """Reads the history of the datasets (default: all of the registry). Changes nothing.

    A history that cannot be read is a problem of the report.

    Args:
        days: how long something counts as new, and after how long without a record it counts as vanished. Both are
            measured back from the newest `emitted_at` of the table.
        min_share: percentage of the records that must have a key before it is suggested as a column.

    Raises:
        UsageError: an unknown dataset.
        CompactorError: the catalog cannot be read.
    """
    chosen = [registry.get(name) for name in datasets or sorted(registry.datasets)]
    lake = Lakehouse(config)
    existing = [dataset for dataset in chosen if lake.exists(dataset.history_table)]
    missing = tuple(dataset.name for dataset in chosen if dataset not in existing)
    found: list[DatasetDrift] = []
    problems: list[Problem] = []
    for dataset in existing:
        with collected(problems, dataset.name):
            found.append(_dataset(lake, dataset, days, min_share))
    return DriftReport(days, tuple(found), missing, tuple(problems))


def _dataset(lake: Lakehouse, dataset: Dataset, days: int, min_share: float) -> DatasetDrift:
    history = lake.table(dataset.history_table)
    maps = [column for column, kind, _ in dataset.columns if kind == MAP and column in history.schema.names]
    declared = [field for field in dataset.newest.fields if not field.required and field.column in history.schema.names]
    counts = count(history, [*maps, EXTRA], [field.column for field in declared], lake.config.resources)
    if counts.newest is None:
        return DatasetDrift(dataset.name, history.name, 0, None)
    since = counts.newest - timedelta(days=days)
    promoted = {(each.source, each.key): each.column for each in dataset.promoted}
    found = [_declared_field(field, counts.fields.get(field.column), counts.records, since) for field in declared]
    shown = {each: n for each, n in counts.keys.items() if each in promoted or not may_be_value(each[1])}
    found += [
        dataclasses.replace(_key(source, key, each, counts.records, since=since), promoted=promoted.get((source, key)))
        for (source, key), each in shown.items()
    ]
    suggested = list(_suggested(dataset, found, min_share, history))
    return DatasetDrift(
        dataset=dataset.name,
        table=history.name,
        records=counts.records,
        newest=counts.newest,
        fields=tuple(found),
        crowded={column: counts.crowded[column] for column in (*maps, EXTRA) if column in counts.crowded},
        hidden=dict(Counter(column for column, key in counts.keys if (column, key) not in shown)),
        promote=_promote_yaml([*dataset.promoted, *suggested]) if suggested else "",
        replaces_promote=bool(suggested and dataset.promoted),
        file=dataset.file,
    )


def ready_fields(
    lake: Lakehouse, declared: Dataset, dataset: Dataset, *, min_share: float, min_records: int
) -> list[Promotion]:
    """The fields of `extra` that can become columns: of one type, in enough records, and not a column yet.

    Args:
        declared: the dataset as the registry declares it. Its column names must stay free.
        dataset: the same dataset at the version of its tables.
        min_share: percentage of the records that must have the field.
        min_records: number of the records that must have it.
    """
    history = lake.table(dataset.history_table)
    counts = count(history, [EXTRA], [], lake.config.resources)
    both = dataclasses.replace(declared, promoted=(*declared.promoted, *dataset.promoted))
    known = {(each.source, each.key) for each in both.promoted}
    enough = {
        key: each
        for (source, key), each in counts.keys.items()
        if (source, key) not in known and each.records >= min_records and not may_be_value(key)
    }
    fields = [_key(EXTRA, key, each, counts.records) for key, each in enough.items()]
    return list(_suggested(both, [each for each in fields if each.type != "nested"], min_share, history))


def _declared_field(field: Field, found: Count | None, records: int, since: datetime) -> FieldDrift:
    """`found` is None for a field that no record has."""
    if found is None:
        return FieldDrift(None, field.json, 0, 0.0, None, None, {}, field.type.name, "unseen")
    return FieldDrift(
        None,
        field.json,
        found.records,
        found.records / records,
        found.first,
        found.last,
        {field.type.name: found.records},
        field.type.name,
        _status(found, since),
    )


def _key(source: str, key: str, found: Count, records: int, *, since: datetime | None = None) -> FieldDrift:
    """A key of a map column. Without `since`, none is new or vanished."""
    kind = only_type(found.types, is_json=source == EXTRA)
    if names_version(key) and (kind == DOUBLE.name or (kind == LONG.name and source != EXTRA)):
        kind = STRING.name
    conflict = kind is None and bool(found.types.keys() - {"null"})
    status: DriftStatus = "conflict" if conflict else _status(found, since) if since else "steady"
    share = found.records / records
    return FieldDrift(source, key, found.records, share, found.first, found.last, found.types, kind, status)


def _status(found: Count, since: datetime) -> DriftStatus:
    if found.last <= since:
        return "vanished"
    return "new" if found.first > since else "steady"


def _suggested(dataset: Dataset, fields: Sequence[FieldDrift], min_share: float, history: Table) -> Iterator[Promotion]:
    """Keys that could be columns: of one type, frequent enough, still arriving, and not columns yet."""
    taken = {field.column for version in dataset.versions.values() for field in version.fields}
    taken |= {each.column for each in dataset.promoted} | dataset.partition_fields
    taken |= {name.lower() for name in history.schema.names}  # also those that another engine has added
    for field in fields:
        if field.source is None or field.type is None or field.promoted or field.status == "vanished":
            continue
        if field.share * 100 >= min_share and _can_be_written(field.key):
            column = free_column(field.key, taken, prefix=field.source)
            taken.add(column)
            yield Promotion(field.source, field.key, column, field_type.parse(field.type) or STRING)  # nested: its text


def _can_be_written(key: str) -> bool:
    """Whether a registry file can name the key: it accepts no empty key, and there `${` begins a reference."""
    return bool(key) and "${" not in key and "\0" not in key


def _promote_yaml(promotions: Sequence[Promotion]) -> str:
    """The `promote:` list of a registry file, one entry per line. Unprintable characters are escaped."""
    lines = ["promote:"]
    for each in promotions:
        entry = {"from": each.source, "key": each.key, "column": each.column, "type": each.type.name}
        text = yaml.safe_dump(
            entry, default_flow_style=True, sort_keys=False, width=sys.maxsize, allow_unicode=each.key.isprintable()
        )
        lines.append(f"  - {text.rstrip()}")
    return "\n".join(lines)

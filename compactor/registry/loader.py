"""The registry: what each dataset is, read from one YAML file a dataset (`configs/schemas/<dataset>.yaml`).

Only the registry knows names of datasets, fields and columns. A fifth dataset is a fifth file, not a line of code.
How the files are written and checked: `compactor.registry.file`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compactor.errors import ConfigError, UsageError
from compactor.registry.dataset import Dataset, DeleteRule, Partition, Promotion, SchemaVersion, TableLayout
from compactor.registry.fields import type_of
from compactor.registry.file import DatasetForm, LayoutForm, Reading, parsed_partition, read
from compactor.yaml_file import did_you_mean


@dataclass(frozen=True)
class Registry:
    """All datasets, by name."""

    datasets: Mapping[str, Dataset]

    def get(self, name: str) -> Dataset:
        """The dataset of that name. Raises UsageError, with the nearest name, if there is none."""
        if name in self.datasets:
            return self.datasets[name]
        raise UsageError(f"unknown dataset '{name}'{did_you_mean(name, list(self.datasets))}")


def load(folder: Path) -> Registry:
    """The registry in a folder's *.yaml files. Raises ConfigError with all mistakes of all files."""
    try:
        files = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError) as error:
        sentence = "no such folder; set 'schemas' to the one with a YAML file for each dataset"
        raise ConfigError([f"{folder}:1: {sentence}"]) from error
    except OSError as error:
        sentence = f"cannot be read: {error.strerror}; check the path and its permissions"
        raise ConfigError([f"{folder}:1: {sentence}"]) from error
    paths = [path for path in files if path.suffix == ".yaml" and not path.name.startswith(".")]
    if not paths:
        raise ConfigError([f"{folder}:1: no *.yaml file in it; there should be one for each dataset"])
    problems = [
        f"{path}:1: only *.yaml is read here; name it {path.stem}.yaml" for path in files if path.suffix == ".yml"
    ]
    readings: list[Reading] = []
    for path in paths:
        try:
            readings.append(read(path))
        except ConfigError as error:
            problems += error.problems
    _refuse_table_clashes(readings)
    for reading in readings:
        problems += reading.file.report(reading.problems)
    if problems:
        raise ConfigError(problems)
    return Registry({reading.form.dataset: _dataset(reading.form, str(reading.file.path)) for reading in readings})


def _refuse_table_clashes(readings: list[Reading]) -> None:
    """Add a problem to each file that claims a table which an earlier one has, as `a_history` and `a` (state) do."""
    owners: dict[str, str] = {}
    for reading in readings:
        form = reading.form
        tables = [form.dataset] if form.kind == "events" else [form.dataset, f"{form.dataset}_history"]
        taken = [table for table in tables if table in owners]
        if taken:
            sentence = f"its table '{taken[0]}' already belongs to {owners[taken[0]]}; rename the dataset"
            reading.problems.append(reading.file.problem(("dataset",), sentence))
        for table in tables:
            owners.setdefault(table, reading.file.path.name)


def _dataset(form: DatasetForm, file: str) -> Dataset:
    """The dataset that a form without problems describes, defaults filled in."""
    events = form.kind == "events"
    key = ("id",) if events else form.key
    by_record = key if form.order in key else (*key, form.order)
    record_layout = form.tables.events if events else form.tables.history
    return Dataset(
        name=form.dataset,
        kind="events" if events else "state",
        key=key,
        order=form.order,
        delete=DeleteRule(form.delete.column, form.delete.equals) if form.delete else None,
        current=None if events else _layout(form.tables.current, form.order, key),
        history=_layout(record_layout, form.order, by_record),
        promoted=tuple(Promotion(each.source, each.key, each.column_name, type_of(each.type)) for each in form.promote),
        versions={
            number: SchemaVersion(number, tuple(shape.fields), shape.derived) for number, shape in form.shapes().items()
        },
        file=file,
        additive="evolve" if form.additive == "evolve" else "capture",
    )


def _layout(form: LayoutForm, order: str, sort: tuple[str, ...]) -> TableLayout:
    partition = parsed_partition(form.partition or f"day({order})") or ("none", None, None)
    return TableLayout(Partition(*partition), form.sort or sort)

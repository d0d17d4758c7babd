"""The registry: what each dataset is, read from one YAML file per dataset (`configs/schemas/<dataset>.yaml`).

Only the registry knows the names of datasets, fields and columns. A fifth dataset is a fifth file, not a line of code.
`compactor.registry.forms` is what a file may say, `compactor.registry.checks` the rules for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compactor import yaml_file
from compactor.errors import ConfigError, UsageError
from compactor.registry import checks
from compactor.registry.dataset import Dataset, DeleteRule, LayoutChoice, Partition, Promotion, SchemaVersion
from compactor.registry.fields import type_of
from compactor.registry.forms import DatasetForm, LayoutForm, parsed_partition
from compactor.yaml_file import Problem, YamlFile, did_you_mean


@dataclass(frozen=True)
class Registry:
    """All datasets, by their names."""

    datasets: Mapping[str, Dataset]

    def get(self, name: str) -> Dataset:
        """The dataset of that name. Raises UsageError, with the nearest name, if there is none."""
        if name in self.datasets:
            return self.datasets[name]
        raise UsageError(f"unknown dataset '{name}'{did_you_mean(name, list(self.datasets))}")


def load(folder: Path) -> Registry:
    """The registry of the *.yaml files in a folder. Raises ConfigError with all mistakes of all files."""
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
    readings: list[_Reading] = []
    for path in paths:
        try:
            readings.append(_read(path))
        except ConfigError as error:
            problems += error.problems
    _refuse_table_clashes(readings)
    for reading in readings:
        problems += reading.file.report(reading.problems)
    if problems:
        raise ConfigError(problems)
    return Registry({reading.form.dataset: _dataset(reading.form, str(reading.file.path)) for reading in readings})


@dataclass
class _Reading:
    """One file: its form, and all its problems. The form is complete only if there are none."""

    file: YamlFile
    form: DatasetForm
    problems: list[Problem]


def _read(path: Path) -> _Reading:
    """Reads and checks one file. Raises ConfigError only if it is no YAML mapping."""
    file = yaml_file.load(path)
    form, problems = yaml_file.validate(file, DatasetForm)
    if form is None:
        raise ConfigError(file.report(problems))
    reported = {problem.place for problem in problems}
    for place, sentence in checks.mistakes(form, path):
        if not {place, place[:-1]} & reported:
            problems.append(file.problem(place, sentence))
    return _Reading(file, form, problems)


def _refuse_table_clashes(readings: list[_Reading]) -> None:
    """Adds a problem to each file whose table an earlier file has, as `a_history` and `a` of kind state."""
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
    """The dataset of a form without problems, with all defaults."""
    events = form.kind == "events"
    key = ("id",) if events else form.key
    record_layout = form.tables.events if events else form.tables.history
    return Dataset(
        name=form.dataset,
        kind="events" if events else "state",
        key=key,
        order=form.order,
        delete=DeleteRule(form.delete.column, form.delete.equals) if form.delete else None,
        current_layout=None if events else _layout(form.tables.current),
        history_layout=_layout(record_layout),
        promoted=tuple(Promotion(each.source, each.key, each.column_name, type_of(each.type)) for each in form.promote),
        versions={
            number: SchemaVersion(number, tuple(version.fields), version.derived)
            for number, version in form.by_version().items()
        },
        file=file,
        additive="evolve" if form.additive == "evolve" else "capture",
    )


def _layout(form: LayoutForm) -> LayoutChoice:
    if not form.partition:
        return LayoutChoice(None, form.sort)
    return LayoutChoice(Partition(*(parsed_partition(form.partition) or ("none", None, None))), form.sort)

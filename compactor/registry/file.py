"""The YAML form of one dataset, and what is checked in it. `compactor.registry.loader` turns it into a `Dataset`.

Every key has a default here, so that a file with a key missing can still be checked for all its other mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field as Key
from pydantic import model_validator

from compactor import yaml_file
from compactor.errors import ConfigError
from compactor.registry.expressions import Column
from compactor.registry.fields import (
    Field,
    Mistake,
    column_mistake,
    column_name,
    is_other_type,
    type_mistake,
    type_of,
)
from compactor.registry.version_changes import ENVELOPE, ChangeForm, Shape, applied
from compactor.types.field_type import BOOLEAN, DATE, DOUBLE, LONG, MAP, STRING, TIMESTAMP
from compactor.yaml_file import Form, Place, Problem, YamlFile, did_you_mean

_KEY_TYPES = (STRING, LONG)
_ORDER_TYPES = (TIMESTAMP, LONG, DATE)
Transform = Literal["day", "month", "bucket", "none"]


class FieldForm(Form):
    """`traits: map`, or `traits: {type: map, required: false, column: traits}`."""

    type: str = ""
    required: bool = False
    column: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        # A field that is neither keeps its name, without a type, so that nothing else misses its column.
        return value if isinstance(value, dict) else {"type": value if isinstance(value, str) else ""}


class VersionForm(Form):
    """`fields: {<JSON key>: <field>, …}` for the first version, `changes` (see `version_changes`) for the others."""

    fields: dict[str, FieldForm] = Key(default_factory=dict)
    changes: tuple[ChangeForm, ...] = ()

    def listed(self) -> list[Field]:
        """The fields, of the first version."""
        return [
            Field(json, form.column or column_name(json), type_of(form.type), form.required)
            for json, form in self.fields.items()
        ]


class PromotionForm(Form):
    """`{from: traits, key: loyaltyTier, column: loyalty_tier, type: string}`; `column` by the rule if not given."""

    source: str = Key(default="", alias="from")
    key: str = ""
    column: str | None = None
    type: str = ""

    @property
    def column_name(self) -> str:
        return self.column or column_name(self.key)


class LayoutForm(Form):
    """`{partition: day(updated_at), sort: [rover_id]}`."""

    partition: str | None = None
    sort: tuple[str, ...] = ()


class TablesForm(Form):
    """`current` and `history` for kind state, `events` for kind events."""

    current: LayoutForm = LayoutForm()
    history: LayoutForm = LayoutForm()
    events: LayoutForm = LayoutForm()


class DeleteForm(Form):
    """`{column: operation, equals: [delete]}`."""

    column: str = ""
    equals: tuple[str, ...] = ()


class DatasetForm(Form):
    """The whole file."""

    dataset: str = ""
    kind: str = ""
    key: tuple[str, ...] = ()
    order: str = ""
    delete: DeleteForm | None = None
    additive: str = "capture"
    tables: TablesForm = TablesForm()
    promote: tuple[PromotionForm, ...] = ()
    versions: dict[str, VersionForm] = Key(default_factory=dict)

    def shapes(self) -> dict[int, Shape]:
        """The shape of each version, oldest first."""
        found: dict[int, Shape] = {}
        fields: list[Field] = []
        for number in sorted(int(text) for text in self.versions if _is_version(text)):
            version = self.versions[str(number)]
            if found:
                found[number] = applied(fields, version.changes, ("versions", str(number), "changes"))
            else:
                fields = version.listed()
                found[number] = Shape(fields, {field.column: Column(field.column, field.type) for field in fields})
            fields = found[number].fields
        return found


@dataclass
class Reading:
    """One file: its form, and all its problems. The form is whole only if there are none."""

    file: YamlFile
    form: DatasetForm
    problems: list[Problem]


def read(path: Path) -> Reading:
    """Read and check one file. Raises ConfigError only if it is not a YAML mapping at all."""
    file = yaml_file.load(path)
    form, problems = yaml_file.validate(file, DatasetForm)
    if form is None:
        raise ConfigError(file.report(problems))
    reported = {problem.place for problem in problems}
    for place, sentence in _mistakes(form, path):
        if not {place, place[:-1]} & reported:
            problems.append(file.problem(place, sentence))
    return Reading(file, form, problems)


def parsed_partition(text: str) -> tuple[Transform, str | None, int | None] | None:
    """(transform, column, buckets) of `day(c)`, `month(c)`, `bucket(16, c)` or `none`; None if it is none of them."""
    compact = text.replace(" ", "")
    if compact == "none":
        return "none", None, None
    if by_time := re.fullmatch(r"(day|month)\((\w+)\)", compact):
        return ("day" if by_time[1] == "day" else "month"), by_time[2], None
    if bucket := re.fullmatch(r"bucket\(([1-9]\d{0,8}),(\w+)\)", compact):
        return "bucket", bucket[2], int(bucket[1])
    return None


def _mistakes(form: DatasetForm, path: Path) -> Iterator[Mistake]:
    """All that the form's types cannot say. A check is left out where its own ground is already a mistake."""
    yield from _in_names(form, path)
    shapes = form.shapes()
    first = str(next(iter(shapes), ""))
    for text, version in form.versions.items():
        yield from _in_version(text, version, first)
    if not shapes or not form.versions[first].fields:
        return
    for shape in shapes.values():
        yield from shape.mistakes
    columns = {field.column: field for field in shapes[max(shapes)].fields}
    yield from _in_promotions(form, shapes, columns)
    yield from _in_key_and_order(form, first, columns)
    yield from _in_delete(form, columns)
    yield from _in_tables(form, columns)
    yield from _in_what_lasts(form, shapes)


def _is_version(number: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,8}", number) is not None


def _in_names(form: DatasetForm, path: Path) -> Iterator[Mistake]:
    for key in ("dataset", "kind", "key", "order", "versions"):
        if not getattr(form, key) and (key, form.kind) != ("key", "events"):
            yield (key,), f"missing key '{key}', or it is empty"
    name = form.dataset
    if name and not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        yield ("dataset",), f"'{name}' should be lower snake case, such as 'fan_profiles'"
    elif name.startswith("compactor_"):
        yield ("dataset",), f"'{name}' should not begin with 'compactor_': tables of that name are the program's own"
    elif name and name != path.stem:
        yield ("dataset",), f"dataset '{name}' should be in a file named {name}.yaml"
    if form.additive not in ("capture", "evolve"):
        yield ("additive",), f"unknown '{form.additive}'{did_you_mean(form.additive, ('capture', 'evolve'))}"
    if form.kind and form.kind not in ("state", "events"):
        yield ("kind",), f"unknown kind '{form.kind}'{did_you_mean(form.kind, ('state', 'events'))}"


def _in_version(number: str, version: VersionForm, first: str) -> Iterator[Mistake]:
    here: Place = ("versions", number)
    if not _is_version(number):
        yield here, f"version '{number}' should be a positive whole number"
    elif number == first:
        if version.changes:
            yield (*here, "changes"), f"version {number} is the first one: list its `fields`"
        yield from _in_fields(number, version)
    elif version.fields:
        yield (*here, "fields"), f"the fields are listed in version {first} alone; say here what changed: `changes`"
    elif not version.changes:
        yield (*here, "changes"), f"version {number} has no changes"


def _in_fields(number: str, version: VersionForm) -> Iterator[Mistake]:
    here: Place = ("versions", number, "fields")
    if not version.fields:
        yield here, f"version {number} has no fields"
        return
    taken: dict[str, Field] = {}
    for field in version.listed():
        if mistake := type_mistake(field.type.name, maps=True):
            yield (*here, field.json, "type"), f"field '{field.json}' {mistake}"
        if mistake := column_mistake(field.column):
            yield (*here, field.json, "column"), f"field '{field.json}': {mistake}"
        if field.column in taken:
            both = f"fields '{taken[field.column].json}' and '{field.json}'"
            yield (*here, field.json), f"{both} share the column '{field.column}'; give one a `column`"
        taken.setdefault(field.column, field)
    for column, wanted in ENVELOPE.items():
        if column not in taken:
            sentence = f"version {number} has no field for column '{column}'; every record has it: a required {wanted}"
            yield (*here, "?"), sentence
            continue
        field = taken[column]
        if is_other_type(field.type, wanted):
            yield (*here, field.json, "type"), f"column '{column}' is a {field.type}; it should be a {wanted}"
        if not field.required:
            yield (*here, field.json, "required"), f"column '{column}' should be required: every record has it"


def _in_what_lasts(form: DatasetForm, shapes: dict[int, Shape]) -> Iterator[Mistake]:
    """What tells, orders, places or deletes an entity's rows must mean the same in every version: it may be renamed."""
    lasting: dict[str, str] = {}
    for name in ("current", "history", "events"):
        layout: LayoutForm = getattr(form.tables, name)
        _, column, _ = parsed_partition(layout.partition or "") or ("none", None, None)
        lasting |= dict.fromkeys((*layout.sort, *([column] if column else [])), f"tables.{name}")
    lasting |= dict.fromkeys(form.key, "key") | {form.order: "order"}
    if form.delete:
        lasting[form.delete.column] = "delete"
    for number in list(shapes)[:0:-1]:
        derived = shapes[number].derived
        for column, role in list(lasting.items()):
            expression = derived.get(column)
            if expression is not None and not isinstance(expression, Column):
                del lasting[column]
                sentence = f"column '{column}' is in '{role}': it may be renamed, but change in no other way"
                yield ("versions", str(number), "changes"), sentence
            elif isinstance(expression, Column) and expression.name != column:
                lasting[expression.name] = lasting.pop(column)


def _in_promotions(form: DatasetForm, shapes: dict[int, Shape], columns: dict[str, Field]) -> Iterator[Mistake]:
    sources = ("extra", *(column for column, field in columns.items() if field.type == MAP))
    taken = {field.column for shape in shapes.values() for field in shape.fields}
    for index, each in enumerate(form.promote):
        here: Place = ("promote", index)
        for key, value in (("from", each.source), ("key", each.key)):
            if not value:
                yield (*here, key), f"missing key '{key}' in this promotion, or it is empty"
        if each.source and each.source not in sources:
            sentence = f"'{each.source}' is no map column of the newest version"
            yield (*here, "from"), sentence + did_you_mean(each.source, sources)
        if mistake := type_mistake(each.type):
            yield (*here, "type"), f"promotion of '{each.key}' {mistake}"
        if not each.column_name:
            continue
        if mistake := column_mistake(each.column_name):
            yield (*here, "column"), f"promotion of '{each.key}': {mistake}"
        if each.column_name in taken:
            yield (*here, "column"), f"column '{each.column_name}' is taken already; give another `column`"
        taken.add(each.column_name)


def _in_key_and_order(form: DatasetForm, first: str, columns: dict[str, Field]) -> Iterator[Mistake]:
    if form.kind == "events" and form.key not in ((), ("id",)):
        yield ("key",), "events are told apart by 'id' alone; remove 'key'"
    yield from _in_columns(("key",), form.key, columns)
    yield from _in_columns(("order",), (form.order,), columns)
    for column, field in columns.items():
        for role, names, types in (("key", form.key, _KEY_TYPES), ("order", (form.order,), _ORDER_TYPES)):
            if column in names and is_other_type(field.type, *types):
                known = ", ".join(map(str, types))
                yield (role,), f"{role} column '{column}' is a {field.type}; it should be one of {known}"
            if column in names and not field.required and column not in ENVELOPE:
                place = ("versions", first, "fields", field.json, "required")
                yield place, f"column '{column}' should be required: it is in '{role}'"


def _in_delete(form: DatasetForm, columns: dict[str, Field]) -> Iterator[Mistake]:
    if not form.delete:
        return
    if form.kind == "events":
        yield ("delete",), "events are never deleted by a record; remove 'delete'"
    for key in (key for key in ("column", "equals") if not getattr(form.delete, key)):
        yield ("delete", key), f"missing key '{key}' in 'delete', or it is empty"
    yield from _in_columns(("delete", "column"), (form.delete.column,), columns)
    field = columns.get(form.delete.column)
    if field and is_other_type(field.type, STRING):
        yield ("delete", "column"), f"delete column '{form.delete.column}' is a {field.type}; it should be a string"


def _in_tables(form: DatasetForm, columns: dict[str, Field]) -> Iterator[Mistake]:
    own = {"state": ("current", "history"), "events": ("events",)}.get(form.kind)
    if not own:
        return
    for name in sorted(form.tables.model_fields_set - set(own)):
        yield ("tables", name), f"a dataset of kind {form.kind} has no table '{name}'; it has {' and '.join(own)}"
    for name in own:
        layout: LayoutForm = getattr(form.tables, name)
        yield from _in_columns(("tables", name, "sort"), layout.sort, columns)
        for column in layout.sort:
            if column in columns and columns[column].type == MAP:
                yield ("tables", name, "sort"), f"sort column '{column}' is a map, which has no order; leave it out"
        yield from _in_partition(("tables", name, "partition"), layout.partition, form, columns)


def _in_partition(place: Place, text: str | None, form: DatasetForm, columns: dict[str, Field]) -> Iterator[Mistake]:
    if not text:
        if form.order not in columns:
            return
        place, text = ("order",), f"day({form.order})"
    partition = parsed_partition(text)
    if not partition:
        ending = ' (in {…}, put it in "quotes": it has a comma)' if text.startswith("bucket(") else ""
        yield place, f"'{text}' should be day(column), month(column), bucket(16, column) or none{ending}"
        return
    transform, column, _ = partition
    yield from _in_columns(place, (column or "",), columns)
    field = columns.get(column or "")
    type_ = field.type if field else None
    if f"{column}_{transform}" in {*columns, *(each.column_name for each in form.promote)}:
        sentence = f"partition {text} is named {column}_{transform}, as a column is; give that another `column`"
        yield place, sentence
    if transform in ("day", "month") and type_ and is_other_type(type_, TIMESTAMP, DATE):
        yield place, f"partition {text} is by time, but '{column}' is a {type_}; use a timestamp, a date, or bucket"
    if transform == "bucket" and type_ in (DOUBLE, BOOLEAN, MAP):
        yield place, f"partition {text} cannot be: '{column}' is a {type_}, which has no buckets; use another column"


def _in_columns(place: Place, names: tuple[str, ...], columns: dict[str, Field]) -> Iterator[Mistake]:
    """The names that are no columns of the newest version, and those given twice."""
    for index, name in enumerate(names):
        if name and name not in columns:
            yield (*place, index), f"no column '{name}' in the newest version{did_you_mean(name, list(columns))}"
        elif name in names[:index]:
            yield (*place, index), f"column '{name}' is named twice; once is enough"

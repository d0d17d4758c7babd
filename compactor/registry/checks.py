"""The mistakes in a dataset's file that the types of its form cannot find.

Each check yields a mistake with its place in the file. A check is left out where what it needs is a mistake itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from compactor.registry.expressions import Column
from compactor.registry.fields import Field, Mistake, column_mistake, is_other_type, type_mistake
from compactor.registry.forms import DatasetForm, LayoutForm, VersionForm, is_version, parsed_partition
from compactor.registry.version_changes import ENVELOPE, VersionFields
from compactor.types.field_type import BOOLEAN, DATE, DOUBLE, LONG, MAP, STRING, TIMESTAMP
from compactor.yaml_file import Place, did_you_mean

_MAX_BUCKETS = 10_000
_KEY_TYPES = (STRING, LONG)
_ORDER_TYPES = (TIMESTAMP, LONG, DATE)


def mistakes(form: DatasetForm, path: Path) -> Iterator[Mistake]:
    """All mistakes in a form. `path` is its file."""
    yield from _in_names(form, path)
    versions = form.by_version()
    first = str(next(iter(versions), ""))
    for text, version in form.versions.items():
        yield from _in_version(text, version, first)
    if not versions or not form.versions[first].fields:
        return
    for each in versions.values():
        yield from each.mistakes
    columns = {field.column: field for field in versions[max(versions)].fields}
    yield from _in_promotions(form, versions, columns)
    yield from _in_key_and_order(form, first, columns)
    yield from _in_delete(form, columns)
    yield from _in_tables(form, columns)
    yield from _in_lasting_columns(form, versions)


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
    if not is_version(number):
        yield here, f"version '{number}' should be a positive whole number"
    elif number == first:
        if version.changes:
            yield (*here, "changes"), f"version {number} is the first one: list its `fields`"
        yield from _in_fields(number, version)
    elif version.fields:
        yield (*here, "fields"), f"the fields are listed in version {first} alone; list here what changed: `changes`"
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
    for column, expected in ENVELOPE.items():
        if column not in taken:
            sentence = f"version {number} has no field for column '{column}'; add a required {expected} for it"
            yield (*here, "?"), sentence
            continue
        field = taken[column]
        if is_other_type(field.type, expected):
            yield (*here, field.json, "type"), f"column '{column}' is a {field.type}; it should be a {expected}"
        if not field.required:
            yield (*here, field.json, "required"), f"column '{column}' should be required: every record has it"


def _in_lasting_columns(form: DatasetForm, versions: Mapping[int, VersionFields]) -> Iterator[Mistake]:
    """A column of the key, the order, the delete rule or a layout must mean the same in each version.

    It can be renamed.
    """
    lasting: dict[str, str] = {}
    for name in ("current", "history", "events"):
        layout: LayoutForm = getattr(form.tables, name)
        _, column, _ = parsed_partition(layout.partition or "") or ("none", None, None)
        lasting |= dict.fromkeys((*layout.sort, *([column] if column else [])), f"tables.{name}")
    lasting |= dict.fromkeys(form.key, "key") | {form.order: "order"}
    if form.delete:
        lasting[form.delete.column] = "delete"
    for number in list(versions)[:0:-1]:
        derived = versions[number].derived
        for column, role in list(lasting.items()):
            expression = derived.get(column)
            if expression is not None and not isinstance(expression, Column):
                del lasting[column]
                sentence = f"column '{column}' is in '{role}': it can be renamed, but not changed in another way"
                yield ("versions", str(number), "changes"), sentence
            elif isinstance(expression, Column) and expression.name != column:
                lasting[expression.name] = lasting.pop(column)


def _in_promotions(
    form: DatasetForm, versions: Mapping[int, VersionFields], columns: Mapping[str, Field]
) -> Iterator[Mistake]:
    sources = ("extra", *(column for column, field in columns.items() if field.type == MAP))
    taken = {field.column for version in versions.values() for field in version.fields}
    for index, each in enumerate(form.promote):
        here: Place = ("promote", index)
        for key, value in (("from", each.source), ("key", each.key)):
            if not value:
                yield (*here, key), f"missing key '{key}' in this promotion, or it is empty"
        if each.source and each.source not in sources:
            sentence = f"'{each.source}' is not a map column of the newest version"
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


def _in_key_and_order(form: DatasetForm, first: str, columns: Mapping[str, Field]) -> Iterator[Mistake]:
    if form.kind == "events" and form.key not in ((), ("id",)):
        yield ("key",), "events are identified by 'id' alone; remove 'key'"
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


def _in_delete(form: DatasetForm, columns: Mapping[str, Field]) -> Iterator[Mistake]:
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


def _in_tables(form: DatasetForm, columns: Mapping[str, Field]) -> Iterator[Mistake]:
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


def _in_partition(place: Place, text: str | None, form: DatasetForm, columns: Mapping[str, Field]) -> Iterator[Mistake]:
    if not text:
        if form.order not in columns:
            return
        place, text = ("order",), f"day({form.order})"
    partition = parsed_partition(text)
    if not partition:
        ending = ' (in {…}, put it in "quotes": it has a comma)' if text.startswith("bucket(") else ""
        yield place, f"'{text}' should be day(column), month(column), bucket(16, column) or none{ending}"
        return
    transform, column, buckets = partition
    if buckets and buckets > _MAX_BUCKETS:  # each commit writes a file for each of them
        yield place, f"partition {text} should have from 1 to {_MAX_BUCKETS:,} buckets"
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


def _in_columns(place: Place, names: tuple[str, ...], columns: Mapping[str, Field]) -> Iterator[Mistake]:
    """Names that are not columns of the newest version, and duplicate names."""
    for index, name in enumerate(names):
        if name and name not in columns:
            yield (*place, index), f"no column '{name}' in the newest version{did_you_mean(name, list(columns))}"
        elif name in names[:index]:
            yield (*place, index), f"column '{name}' is named twice; once is enough"

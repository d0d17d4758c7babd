"""The YAML form of one dataset, and what is checked in it. `compactor.registry` turns it into a `Dataset`.

Every key has a default here, so that a file with a key missing can still be checked for all its other mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compactor import yamlfile
from compactor.errors import ConfigError
from compactor.yamlfile import Place, Problem, YamlFile, did_you_mean

RESERVED_COLUMNS = ("extra", "source_file", "source_line")  # every table of records has them by itself

SCALAR_TYPES = ("string", "long", "double", "boolean", "timestamp", "date", "decimal(P,S)")
_KEY_TYPES = ("string", "long")
_ORDER_TYPES = ("timestamp", "long", "date")
MAX_PRECISION = 38  # digits of a decimal, in Iceberg and in the engines
_ENVELOPE = {"id": "string", "version": "long", "emitted_at": "timestamp"}
"""Columns of the envelope that the program itself reads, and their types: every version of every dataset has them."""

Mistake = tuple[Place, str]
Transform = Literal["day", "month", "bucket", "none"]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldForm(_Form):
    """`traits: map`, or `traits: {type: map, required: false, column: traits}`."""

    type: str = ""
    required: bool = False
    column: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        # A field that is neither keeps its name, without a type, so that nothing else misses its column.
        return value if isinstance(value, dict) else {"type": value if isinstance(value, str) else ""}


class VersionForm(_Form):
    """`fields: {<JSON key>: <field>, …}`."""

    fields: dict[str, FieldForm] = {}

    def columns(self) -> list[tuple[str, str, FieldForm]]:
        """(JSON key, column, field) of each field."""
        return [(json, field.column or column_name(json), field) for json, field in self.fields.items()]


class PromotionForm(_Form):
    """`{from: traits, key: loyaltyTier, column: loyalty_tier, type: string}`; `column` by the rule if not given."""

    source: str = Field(default="", alias="from")
    key: str = ""
    column: str | None = None
    type: str = ""

    @property
    def column_name(self) -> str:
        return self.column or column_name(self.key)


class LayoutForm(_Form):
    """`{partition: day(updated_at), sort: [rover_id]}`."""

    partition: str | None = None
    sort: tuple[str, ...] = ()


class TablesForm(_Form):
    """`current` and `history` for kind state, `events` for kind events."""

    current: LayoutForm = LayoutForm()
    history: LayoutForm = LayoutForm()
    events: LayoutForm = LayoutForm()


class DeleteForm(_Form):
    """`{column: operation, equals: [delete]}`."""

    column: str = ""
    equals: tuple[str, ...] = ()


class DatasetForm(_Form):
    """The whole file."""

    dataset: str = ""
    kind: str = ""
    key: tuple[str, ...] = ()
    order: str = ""
    delete: DeleteForm | None = None
    tables: TablesForm = TablesForm()
    promote: tuple[PromotionForm, ...] = ()
    versions: dict[str, VersionForm] = {}


@dataclass
class Reading:
    """One file: its form, and all its problems. The form is whole only if there are none."""

    file: YamlFile
    form: DatasetForm
    problems: list[Problem]


def read(path: Path) -> Reading:
    """Read and check one file. Raises ConfigError only if it is not a YAML mapping at all."""
    file = yamlfile.load(path)
    form, problems = yamlfile.validate(file, DatasetForm)
    if form is None:
        raise ConfigError(file.report(problems))
    reported = {problem.place for problem in problems}
    for place, sentence in _mistakes(form, path):
        if not {place, place[:-1]} & reported:
            problems.append(file.problem(place, sentence))
    return Reading(file, form, problems)


def column_name(json: str) -> str:
    """Lower snake case of a JSON key: `roverID` is `rover_id`, `HTMLTitle` is `html_title`, `utm-source` `utm_source`.

    A word begins at a capital after a small letter or digit, and at the last capital of a run before a small letter.
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", json)
    return re.sub(r"[\s.-]+", "_", words).lower()


def normal_type(text: str) -> str | None:
    """A type as `Field.type` has it, a decimal without spaces. None if it is no type."""
    if text == "map" or text in SCALAR_TYPES[:-1]:
        return text
    if decimal := re.fullmatch(r"decimal\( *(\d{1,2}) *, *(\d{1,2}) *\)", text):
        precision, scale = int(decimal[1]), int(decimal[2])
        return f"decimal({precision},{scale})" if max(scale, 1) <= precision <= MAX_PRECISION else None
    return None


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
    for number, version in form.versions.items():
        yield from _in_version(number, version)
    yield from _in_version_field(form)
    newest = _newest(form)
    if newest:
        columns = {column: field for _, column, field in form.versions[newest].columns()}
        yield from _in_types(form, newest, columns)
        yield from _in_promotions(form, columns)
        yield from _in_key_and_order(form, newest, columns)
        yield from _in_delete(form, columns)
        yield from _in_tables(form, columns)


def _newest(form: DatasetForm) -> str | None:
    """The largest version number, unless that version has no fields to look at."""
    number = max(filter(_is_version, form.versions), key=int, default=None)
    return number if number and form.versions[number].fields else None


def _is_version(number: str) -> bool:
    return re.fullmatch(r"[1-9]\d{0,8}", number) is not None


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
    if form.kind and form.kind not in ("state", "events"):
        yield ("kind",), f"unknown kind '{form.kind}'{did_you_mean(form.kind, ('state', 'events'))}"


def _in_version(number: str, version: VersionForm) -> Iterator[Mistake]:
    here: Place = ("versions", number)
    if not _is_version(number):
        yield here, f"version '{number}' should be a positive whole number"
    if not version.fields:
        yield (*here, "fields"), f"version {number} has no fields"
        return
    taken: dict[str, str] = {}
    for json, column, field in version.columns():
        place = (*here, "fields", json)
        if mistake := _type_mistake(field.type, (*SCALAR_TYPES, "map")):
            yield (*place, "type"), f"field '{json}' {mistake}"
        if mistake := _column_mistake(column):
            yield (*place, "column"), f"field '{json}': {mistake}"
        if column in taken:
            yield place, f"fields '{taken[column]}' and '{json}' share the column '{column}'; give one a `column`"
        taken.setdefault(column, json)
    for column, wanted in _ENVELOPE.items():
        if column not in taken:
            sentence = f"version {number} has no field for column '{column}'; every record has it: a required {wanted}"
            yield (*here, "fields", "?"), sentence
            continue
        place, field = (*here, "fields", taken[column]), version.fields[taken[column]]
        if normal_type(field.type) not in (wanted, None):
            yield (*place, "type"), f"column '{column}' is a {field.type}; it should be a {wanted}"
        if not field.required:
            yield (*place, "required"), f"column '{column}' should be required: every record has it"


def _in_version_field(form: DatasetForm) -> Iterator[Mistake]:
    """A record's version is read before anything tells by which schema to read it: one JSON key must do for all."""
    first: tuple[str, str] | None = None
    for number, version in form.versions.items():
        for json, _, _ in (each for each in version.columns() if each[1] == "version"):
            first = first or (number, json)
            if json != first[1]:
                sentence = f"column 'version' is field '{json}' here and '{first[1]}' in version {first[0]}; use one"
                yield ("versions", number, "fields", json, "column"), sentence


def _in_types(form: DatasetForm, newest: str, columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    """A column has one type, in which the fields of all versions are read."""
    for number, version in form.versions.items():
        for json, column, field in version.columns():
            due = normal_type(columns[column].type) if column in columns else None
            if due and normal_type(field.type) not in (due, None):
                sentence = f"column '{column}' is a {field.type} here and a {due} in version {newest}; use one type"
                yield ("versions", number, "fields", json, "type"), sentence


def _in_promotions(form: DatasetForm, columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    sources = ("extra", *(column for column, field in columns.items() if field.type == "map"))
    taken = {column for version in form.versions.values() for _, column, _ in version.columns()}
    for index, each in enumerate(form.promote):
        here: Place = ("promote", index)
        for key, value in (("from", each.source), ("key", each.key)):
            if not value:
                yield (*here, key), f"missing key '{key}' in this promotion, or it is empty"
        if each.source and each.source not in sources:
            sentence = f"'{each.source}' is no map column of the newest version"
            yield (*here, "from"), sentence + did_you_mean(each.source, sources)
        if mistake := _type_mistake(each.type, SCALAR_TYPES):
            yield (*here, "type"), f"promotion of '{each.key}' {mistake}"
        if not each.column_name:
            continue
        if mistake := _column_mistake(each.column_name):
            yield (*here, "column"), f"promotion of '{each.key}': {mistake}"
        if each.column_name in taken:
            yield (*here, "column"), f"column '{each.column_name}' is taken already; give another `column`"
        taken.add(each.column_name)


def _in_key_and_order(form: DatasetForm, number: str, columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    if form.kind == "events" and form.key not in ((), ("id",)):
        yield ("key",), "events are told apart by 'id' alone; remove 'key'"
    yield from _in_columns(("key",), form.key, columns)
    yield from _in_columns(("order",), (form.order,), columns)
    for json, column, field in form.versions[number].columns():
        for role, names, types in (("key", form.key, _KEY_TYPES), ("order", (form.order,), _ORDER_TYPES)):
            if column in names and normal_type(field.type) not in (*types, None):
                yield (role,), f"{role} column '{column}' is a {field.type}; it should be one of {', '.join(types)}"
            if column in names and not field.required and column not in _ENVELOPE:
                place = ("versions", number, "fields", json, "required")
                yield place, f"column '{column}' should be required: it is in '{role}'"


def _in_delete(form: DatasetForm, columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    if not form.delete:
        return
    if form.kind == "events":
        yield ("delete",), "events are never deleted by a record; remove 'delete'"
    for key in (key for key in ("column", "equals") if not getattr(form.delete, key)):
        yield ("delete", key), f"missing key '{key}' in 'delete', or it is empty"
    yield from _in_columns(("delete", "column"), (form.delete.column,), columns)
    field = columns.get(form.delete.column)
    if field and normal_type(field.type) not in ("string", None):
        yield ("delete", "column"), f"delete column '{form.delete.column}' is a {field.type}; it should be a string"


def _in_tables(form: DatasetForm, columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    own = {"state": ("current", "history"), "events": ("events",)}.get(form.kind)
    if not own:
        return
    for name in sorted(form.tables.model_fields_set - set(own)):
        yield ("tables", name), f"a dataset of kind {form.kind} has no table '{name}'; it has {' and '.join(own)}"
    for name in own:
        layout: LayoutForm = getattr(form.tables, name)
        yield from _in_columns(("tables", name, "sort"), layout.sort, columns)
        for column in layout.sort:
            if column in columns and columns[column].type == "map":
                yield ("tables", name, "sort"), f"sort column '{column}' is a map, which has no order; leave it out"
        yield from _in_partition(("tables", name, "partition"), layout.partition, form.order, columns)


def _in_partition(place: Place, text: str | None, order: str, columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    if not text:
        if order not in columns:
            return
        place, text = ("order",), f"day({order})"
    partition = parsed_partition(text)
    if not partition:
        ending = ' (in {…}, put it in "quotes": it has a comma)' if text.startswith("bucket(") else ""
        yield place, f"'{text}' should be day(column), month(column), bucket(16, column) or none{ending}"
        return
    transform, column, _ = partition
    yield from _in_columns(place, (column or "",), columns)
    field = columns.get(column or "")
    type_ = normal_type(field.type) if field else None
    if transform in ("day", "month") and type_ not in ("timestamp", "date", None):
        yield place, f"partition {text} is by time, but '{column}' is a {type_}; use a timestamp, a date, or bucket"
    if transform == "bucket" and type_ in ("double", "boolean", "map"):
        yield place, f"partition {text} cannot be: '{column}' is a {type_}, which has no buckets; use another column"


def _in_columns(place: Place, names: tuple[str, ...], columns: dict[str, FieldForm]) -> Iterator[Mistake]:
    """The names that are no columns of the newest version, and those given twice."""
    for index, name in enumerate(names):
        if name and name not in columns:
            yield (*place, index), f"no column '{name}' in the newest version{did_you_mean(name, list(columns))}"
        elif name in names[:index]:
            yield (*place, index), f"column '{name}' is named twice; once is enough"


def _type_mistake(text: str, types: tuple[str, ...]) -> str | None:
    if not text:
        return f"has no type; give it one of {', '.join(types)}"
    if normal_type(text) not in (None, "map") or text in types:
        return None
    if text.startswith("decimal"):
        return 'should be a decimal(P,S), S <= P <= 38; in {…}, put it in "quotes": it has a comma'
    return f"has the unknown type '{text}'{did_you_mean(text, types)}"


def _column_mistake(column: str) -> str | None:
    if column in RESERVED_COLUMNS:
        return f"column '{column}' is one that every table has by itself; give it another `column`"
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,254}", column):
        return f"column '{column[:60]}' should be a-z, 0-9 and _, no digit first, 255 at most; give it a `column`"
    return None

"""The changes of a schema version since the version before: their YAML form, and the fields that they make.

    changes:
      - rename: {from: fanTier, to: loyaltyTier}
      - retype: {field: joinedAt, to: timestamp}
      - retype: {field: seenAt, to: timestamp, unit: milliseconds}
      - split: {field: fullName, into: [firstName, lastName], separator: " "}
      - merge: {fields: [city, country], into: place, separator: ", "}
      - add: {field: channel, type: string, default: app}
      - default: {field: operation, value: upsert}
      - remove: {field: legacyScore}

A field is named by its JSON key. Changes apply in order, each to the fields that the change before has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import Field, model_validator

from compactor.registry import expressions
from compactor.registry.expressions import Expression
from compactor.registry.fields import Field as RecordField
from compactor.registry.fields import Mistake, column_mistake, column_name, type_mistake, type_of
from compactor.types import json_values
from compactor.types.casts import UNITS, conversion, targets
from compactor.types.field_type import LONG, STRING, TIMESTAMP, FieldType
from compactor.yaml_file import Form, Place, did_you_mean

ENVELOPE = {"id": STRING, "version": LONG, "emitted_at": TIMESTAMP}
"""Columns that the program itself reads, with their types. Each record has them, and they never change."""


class RenameForm(Form):
    """Without `column`, the column follows the rule for JSON keys."""

    source: str = Field(default="", alias="from")
    to: str = ""
    column: str | None = None


class RetypeForm(Form):
    """`unit` is what a whole number counts that becomes a timestamp."""

    field: str = ""
    to: str = ""
    unit: str | None = None


class SplitForm(Form):
    """A string is cut at the separator. The last part takes the rest."""

    field: str = ""
    into: tuple[str, ...] = ()
    separator: str = ""


class MergeForm(Form):
    """Strings are joined. Absent ones are left out."""

    fields: tuple[str, ...] = ()
    into: str = ""
    separator: str = ""


class AddForm(Form):
    """`default` is the value in records of older versions."""

    field: str = ""
    type: str = ""
    required: bool = False
    column: str | None = None
    default: str | None = None


class DefaultForm(Form):
    """The value in records of older versions that have none."""

    field: str = ""
    value: str = ""


class RemoveForm(Form):
    """The column is dropped, with the values of older records."""

    field: str = ""


class ChangeForm(Form):
    """Exactly one of these."""

    rename: RenameForm | None = None
    retype: RetypeForm | None = None
    split: SplitForm | None = None
    merge: MergeForm | None = None
    add: AddForm | None = None
    default: DefaultForm | None = None
    remove: RemoveForm | None = None

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        return value if isinstance(value, dict) else {}

    @property
    def given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


@dataclass
class VersionFields:
    """The fields of a version, as its file gives them.

    Attributes:
        fields: in order.
        derived: each column as an expression over the columns of the version before.
        mistakes: in the changes that make them.
    """

    fields: list[RecordField]
    derived: dict[str, Expression]
    mistakes: list[Mistake] = field(default_factory=list)


def first_version(fields: Sequence[RecordField]) -> VersionFields:
    """The version that lists its fields: each column is itself."""
    return VersionFields(list(fields), {each.column: expressions.Column(each.column, each.type) for each in fields})


def applied(fields: Sequence[RecordField], changes: Sequence[ChangeForm], place: Place) -> VersionFields:
    """The fields after the changes. A change with a mistake is left out; its mistake is at `place` and its number."""
    version = first_version(fields)
    for number, change in enumerate(changes):
        here: Place = (*place, number)
        given = change.given
        if len(given) != 1:
            known = ", ".join(ChangeForm.model_fields)
            version.mistakes.append((here, f"a change should be one of {known}"))
            continue
        ((kind, form),) = given.items()
        try:
            _APPLY[kind](version, form)
        except _MistakeError as mistake:
            version.mistakes.append(((*here, kind, *mistake.key), str(mistake)))
    return version


class _MistakeError(Exception):
    def __init__(self, key: str, sentence: str) -> None:
        self.key = (key,) if key else ()
        super().__init__(sentence)


def _find(version: VersionFields, json: str, key: str) -> int:
    """The index of a field. Refuses an unknown field and those of the envelope."""
    if not json:
        raise _MistakeError(key, f"missing key '{key}', or it is empty")
    names = [each.json for each in version.fields]
    if json not in names:
        raise _MistakeError(key, f"the version before has no field '{json}'{did_you_mean(json, names)}")
    number = names.index(json)
    if version.fields[number].column in ENVELOPE:
        raise _MistakeError(key, f"field '{json}' is in every record of every version; it cannot change")
    return number


def _check_new(
    version: VersionFields, json: str, column: str, key: str, *, besides: Sequence[RecordField] = ()
) -> None:
    if not json:
        raise _MistakeError(key, f"missing key '{key}', or it is empty")
    if mistake := column_mistake(column):
        raise _MistakeError(key, f"field '{json}': {mistake}")
    for each in version.fields:
        if each not in besides and json == each.json:
            raise _MistakeError(key, f"field '{json}' exists already")
        if each not in besides and column == each.column:
            raise _MistakeError(key, f"field '{each.json}' has the column '{column}' already; give another `column`")


def _rename(version: VersionFields, form: RenameForm) -> None:
    number = _find(version, form.source, "from")
    old = version.fields[number]
    new = replace(old, json=form.to, column=form.column or column_name(form.to))
    _check_new(version, new.json, new.column, "to", besides=[old])
    version.fields[number] = new
    version.derived = {**_without(version, old.column), new.column: version.derived[old.column]}


def _retype(version: VersionFields, form: RetypeForm) -> None:
    number = _find(version, form.field, "field")
    old = version.fields[number]
    if mistake := type_mistake(form.to):
        raise _MistakeError("to", f"field '{form.field}' {mistake}")
    kind = type_of(form.to)
    if form.unit and form.unit not in UNITS:
        raise _MistakeError("unit", f"unknown unit '{form.unit}'{did_you_mean(form.unit, tuple(UNITS))}")
    if conversion(old.type, kind, form.unit) is None:
        if conversion(old.type, kind, "seconds"):
            raise _MistakeError("unit", f"field '{form.field}' needs a `unit`, what it counts: {', '.join(UNITS)}")
        if form.unit and conversion(old.type, kind):
            raise _MistakeError("unit", "a unit is for a whole number that becomes a timestamp; remove it")
        can = f"it can become {', '.join(targets(old.type))}" if targets(old.type) else "it cannot become another"
        raise _MistakeError("to", f"field '{form.field}' is a {old.type} and cannot become a {kind}; {can}")
    version.fields[number] = replace(old, type=kind)
    version.derived[old.column] = expressions.Converted(version.derived[old.column], kind, form.unit)


def _split(version: VersionFields, form: SplitForm) -> None:
    number = _find(version, form.field, "field")
    old = version.fields[number]
    if old.type != STRING:
        raise _MistakeError("field", f"field '{form.field}' is a {old.type}; only a string can be split")
    if len(set(form.into)) < 2 or len(set(form.into)) < len(form.into):
        raise _MistakeError("into", "a field is split into two or more fields, each named once")
    if not form.separator:
        raise _MistakeError("separator", "missing key 'separator', or it is empty")
    parts = [RecordField(json, column_name(json), STRING, required=False) for json in form.into]
    for part in parts:
        _check_new(version, part.json, part.column, "into", besides=[old])
    version.fields[number : number + 1] = parts
    whole = version.derived[old.column]
    cut = {p.column: expressions.Part(whole, n, len(parts), form.separator) for n, p in enumerate(parts)}
    version.derived = {**_without(version, old.column), **cut}


def _merge(version: VersionFields, form: MergeForm) -> None:
    if len(form.fields) < 2 or len(set(form.fields)) < len(form.fields):
        raise _MistakeError("fields", "two or more fields are merged, each named once")
    numbers = [_find(version, json, "fields") for json in form.fields]
    old = [version.fields[number] for number in numbers]
    for each in old:
        if each.type != STRING:
            raise _MistakeError("fields", f"field '{each.json}' is a {each.type}; only strings can be merged")
    new = RecordField(form.into, column_name(form.into), STRING, required=False)
    _check_new(version, new.json, new.column, "into", besides=old)
    joined = expressions.Joined(tuple(version.derived[each.column] for each in old), form.separator)
    kept = [(n, each) for n, each in enumerate(version.fields) if n not in numbers]
    version.fields = [each for _, each in sorted([*kept, (min(numbers), new)], key=lambda pair: pair[0])]
    version.derived = {**_without(version, *(each.column for each in old)), new.column: joined}


def _add(version: VersionFields, form: AddForm) -> None:
    column = form.column or column_name(form.field)
    _check_new(version, form.field, column, "field")
    if mistake := type_mistake(form.type, maps=True):
        raise _MistakeError("type", f"field '{form.field}' {mistake}")
    kind = type_of(form.type)
    version.fields.append(RecordField(form.field, column, kind, form.required))
    version.derived[column] = expressions.Nothing(kind)
    if form.default is not None:
        _fill(version, column, kind, form.default, "default")


def _default(version: VersionFields, form: DefaultForm) -> None:
    old = version.fields[_find(version, form.field, "field")]
    _fill(version, old.column, old.type, form.value, "value")


def _fill(version: VersionFields, column: str, kind: FieldType, text: str, key: str) -> None:
    try:
        expressions.default_value(text, kind)
    except json_values.BadValue as bad:
        raise _MistakeError(key, f"the default of column '{column}' is not a {kind}: {bad}") from None
    version.derived[column] = expressions.Filled(version.derived[column], text, kind)


def _remove(version: VersionFields, form: RemoveForm) -> None:
    old = version.fields.pop(_find(version, form.field, "field"))
    version.derived = _without(version, old.column)


def _without(version: VersionFields, *columns: str) -> dict[str, Expression]:
    return {column: expression for column, expression in version.derived.items() if column not in columns}


_APPLY: dict[str, Any] = {
    "rename": _rename,
    "retype": _retype,
    "split": _split,
    "merge": _merge,
    "add": _add,
    "default": _default,
    "remove": _remove,
}

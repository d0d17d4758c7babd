"""What a schema version says has changed since the one before: the YAML form, and what it makes of the fields.

    changes:
      - rename: {from: fanTier, to: loyaltyTier}
      - retype: {field: joinedAt, to: timestamp}
      - retype: {field: seenAt, to: timestamp, unit: milliseconds}
      - split: {field: fullName, into: [firstName, lastName], separator: " "}
      - merge: {fields: [city, country], into: place, separator: ", "}
      - add: {field: channel, type: string, default: app}
      - default: {field: operation, value: upsert}
      - remove: {field: legacyScore}

Fields are told by their JSON keys. Changes apply one after the other, each to what the ones before have left.
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
"""Columns that the program itself reads, with their types: every record has them, and nothing about them can change."""


class RenameForm(Form):
    """`column` by the rule if it is not given."""

    source: str = Field(default="", alias="from")
    to: str = ""
    column: str | None = None


class RetypeForm(Form):
    """`unit` is for a whole number that becomes a timestamp."""

    field: str = ""
    to: str = ""
    unit: str | None = None


class SplitForm(Form):
    """A text is cut at the separator; the last part takes the rest."""

    field: str = ""
    into: tuple[str, ...] = ()
    separator: str = ""


class MergeForm(Form):
    """Texts are joined, absent ones left out."""

    fields: tuple[str, ...] = ()
    into: str = ""
    separator: str = ""


class AddForm(Form):
    """`default` is what records of older versions have in it."""

    field: str = ""
    type: str = ""
    required: bool = False
    column: str | None = None
    default: str | None = None


class DefaultForm(Form):
    """What records of older versions have where they have nothing."""

    field: str = ""
    value: str = ""


class RemoveForm(Form):
    """The column goes, and with it what older records have in it."""

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
class Shape:
    """The fields of a version, how they come from the version before, and what is wrong with its changes."""

    fields: list[RecordField]
    derived: dict[str, Expression]
    mistakes: list[Mistake] = field(default_factory=list)


def applied(fields: Sequence[RecordField], changes: Sequence[ChangeForm], place: Place) -> Shape:
    """The shape after the changes. A change with a mistake is left out, and told at `place` and its number."""
    derived: dict[str, Expression] = {each.column: expressions.Column(each.column, each.type) for each in fields}
    shape = Shape(list(fields), derived)
    for number, change in enumerate(changes):
        here: Place = (*place, number)
        given = change.given
        if len(given) != 1:
            known = ", ".join(ChangeForm.model_fields)
            shape.mistakes.append((here, f"a change should be one of {known}"))
            continue
        ((kind, form),) = given.items()
        try:
            _APPLY[kind](shape, form)
        except _MistakeError as mistake:
            shape.mistakes.append(((*here, kind, *mistake.key), str(mistake)))
    return shape


class _MistakeError(Exception):
    def __init__(self, key: str, sentence: str) -> None:
        self.key = (key,) if key else ()
        super().__init__(sentence)


def _find(shape: Shape, json: str, key: str) -> int:
    """Where the field stands. Refuses an unknown one, and those of the envelope."""
    if not json:
        raise _MistakeError(key, f"missing key '{key}', or it is empty")
    names = [each.json for each in shape.fields]
    if json not in names:
        raise _MistakeError(key, f"the version before has no field '{json}'{did_you_mean(json, names)}")
    number = names.index(json)
    if shape.fields[number].column in ENVELOPE:
        raise _MistakeError(key, f"field '{json}' is in every record of every version; it cannot change")
    return number


def _check_new(shape: Shape, json: str, column: str, key: str, *, besides: Sequence[RecordField] = ()) -> None:
    if not json:
        raise _MistakeError(key, f"missing key '{key}', or it is empty")
    if mistake := column_mistake(column):
        raise _MistakeError(key, f"field '{json}': {mistake}")
    for each in shape.fields:
        if each not in besides and json == each.json:
            raise _MistakeError(key, f"field '{json}' is there already")
        if each not in besides and column == each.column:
            raise _MistakeError(key, f"column '{column}' is that of field '{each.json}' already; give another `column`")


def _rename(shape: Shape, form: RenameForm) -> None:
    number = _find(shape, form.source, "from")
    old = shape.fields[number]
    new = replace(old, json=form.to, column=form.column or column_name(form.to))
    _check_new(shape, new.json, new.column, "to", besides=[old])
    shape.fields[number] = new
    shape.derived = {**_without(shape, old.column), new.column: shape.derived[old.column]}


def _retype(shape: Shape, form: RetypeForm) -> None:
    number = _find(shape, form.field, "field")
    old = shape.fields[number]
    if mistake := type_mistake(form.to):
        raise _MistakeError("to", f"field '{form.field}' {mistake}")
    kind = type_of(form.to)
    if form.unit and form.unit not in UNITS:
        raise _MistakeError("unit", f"unknown unit '{form.unit}'{did_you_mean(form.unit, tuple(UNITS))}")
    if conversion(old.type, kind, form.unit) is None:
        if conversion(old.type, kind, "seconds"):
            raise _MistakeError("unit", f"what does '{form.field}' count? give `unit`: {', '.join(UNITS)}")
        if form.unit and conversion(old.type, kind):
            raise _MistakeError("unit", "a unit is for a whole number that becomes a timestamp; remove it")
        can = f"it can become {', '.join(targets(old.type))}" if targets(old.type) else "it cannot become another"
        raise _MistakeError("to", f"field '{form.field}' is a {old.type} and cannot become a {kind}; {can}")
    shape.fields[number] = replace(old, type=kind)
    shape.derived[old.column] = expressions.Converted(shape.derived[old.column], kind, form.unit)


def _split(shape: Shape, form: SplitForm) -> None:
    number = _find(shape, form.field, "field")
    old = shape.fields[number]
    if old.type != STRING:
        raise _MistakeError("field", f"field '{form.field}' is a {old.type}; only a string can be split")
    if len(set(form.into)) < 2 or len(set(form.into)) < len(form.into):
        raise _MistakeError("into", "a field is split into two or more fields, each named once")
    if not form.separator:
        raise _MistakeError("separator", "missing key 'separator', or it is empty")
    parts = [RecordField(json, column_name(json), STRING, required=False) for json in form.into]
    for part in parts:
        _check_new(shape, part.json, part.column, "into", besides=[old])
    shape.fields[number : number + 1] = parts
    whole = shape.derived[old.column]
    cut = {p.column: expressions.Part(whole, n, len(parts), form.separator) for n, p in enumerate(parts)}
    shape.derived = {**_without(shape, old.column), **cut}


def _merge(shape: Shape, form: MergeForm) -> None:
    if len(form.fields) < 2 or len(set(form.fields)) < len(form.fields):
        raise _MistakeError("fields", "two or more fields are merged, each named once")
    numbers = [_find(shape, json, "fields") for json in form.fields]
    old = [shape.fields[number] for number in numbers]
    for each in old:
        if each.type != STRING:
            raise _MistakeError("fields", f"field '{each.json}' is a {each.type}; only strings can be merged")
    new = RecordField(form.into, column_name(form.into), STRING, required=False)
    _check_new(shape, new.json, new.column, "into", besides=old)
    joined = expressions.Joined(tuple(shape.derived[each.column] for each in old), form.separator)
    kept = [(n, each) for n, each in enumerate(shape.fields) if n not in numbers]
    shape.fields = [each for _, each in sorted([*kept, (min(numbers), new)], key=lambda pair: pair[0])]
    shape.derived = {**_without(shape, *(each.column for each in old)), new.column: joined}


def _add(shape: Shape, form: AddForm) -> None:
    column = form.column or column_name(form.field)
    _check_new(shape, form.field, column, "field")
    if mistake := type_mistake(form.type, maps=True):
        raise _MistakeError("type", f"field '{form.field}' {mistake}")
    kind = type_of(form.type)
    shape.fields.append(RecordField(form.field, column, kind, form.required))
    shape.derived[column] = expressions.Nothing(kind)
    if form.default is not None:
        _fill(shape, column, kind, form.default, "default")


def _default(shape: Shape, form: DefaultForm) -> None:
    old = shape.fields[_find(shape, form.field, "field")]
    _fill(shape, old.column, old.type, form.value, "value")


def _fill(shape: Shape, column: str, kind: FieldType, text: str, key: str) -> None:
    try:
        expressions.default_value(text, kind)
    except json_values.BadValue as bad:
        raise _MistakeError(key, f"the default of column '{column}' is no {kind}: {bad}") from None
    shape.derived[column] = expressions.Filled(shape.derived[column], text, kind)


def _remove(shape: Shape, form: RemoveForm) -> None:
    old = shape.fields.pop(_find(shape, form.field, "field"))
    shape.derived = _without(shape, old.column)


def _without(shape: Shape, *columns: str) -> dict[str, Expression]:
    return {column: expression for column, expression in shape.derived.items() if column not in columns}


_APPLY: dict[str, Any] = {
    "rename": _rename,
    "retype": _retype,
    "split": _split,
    "merge": _merge,
    "add": _add,
    "default": _default,
    "remove": _remove,
}

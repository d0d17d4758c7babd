"""The YAML form of one dataset: what its file may say.

Each key has a default here, so that a file without a key can still be checked for all its other mistakes.
`compactor.registry.checks` has the rules that go beyond the types of the form.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field as Key
from pydantic import model_validator

from compactor.registry.fields import Field, column_name, type_of
from compactor.registry.version_changes import ChangeForm, VersionFields, applied, first_version
from compactor.yaml_file import Form

Transform = Literal["day", "month", "bucket", "none"]


class FieldForm(Form):
    """`traits: map`, or `traits: {type: map, required: false, column: traits}`."""

    type: str = ""
    required: bool = False
    column: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        # A field that is neither keeps its name, without a type, so that its column is not reported as missing too.
        return value if isinstance(value, dict) else {"type": value if isinstance(value, str) else ""}


class VersionForm(Form):
    """`fields: {<JSON key>: <field>, …}` for the first version, `changes` (see `version_changes`) for the others."""

    fields: dict[str, FieldForm] = Key(default_factory=dict)
    changes: tuple[ChangeForm, ...] = ()

    def listed(self) -> list[Field]:
        """The fields of the first version."""
        return [
            Field(json, form.column or column_name(json), type_of(form.type), form.required)
            for json, form in self.fields.items()
        ]


class PromotionForm(Form):
    """`{from: traits, key: loyaltyTier, column: loyalty_tier, type: string}`; without `column`, it follows the rule."""

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

    def by_version(self) -> dict[int, VersionFields]:
        """The fields of each version, oldest version first. Versions that are no numbers are left out."""
        found: dict[int, VersionFields] = {}
        for number in sorted(int(text) for text in self.versions if is_version(text)):
            version = self.versions[str(number)]
            if found:
                before = found[max(found)].fields
                found[number] = applied(before, version.changes, ("versions", str(number), "changes"))
            else:
                found[number] = first_version(version.listed())
        return found


def is_version(number: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,8}", number) is not None


def parsed_partition(text: str) -> tuple[Transform, str | None, int | None] | None:
    """(transform, column, buckets) of `day(c)`, `month(c)`, `bucket(16, c)` or `none`; None for any other text."""
    compact = text.replace(" ", "")
    if compact == "none":
        return "none", None, None
    if by_time := re.fullmatch(r"(day|month)\((\w+)\)", compact):
        return ("day" if by_time[1] == "day" else "month"), by_time[2], None
    if bucket := re.fullmatch(r"bucket\(([1-9]\d{0,8}),(\w+)\)", compact):
        return "bucket", bucket[2], int(bucket[1])
    return None

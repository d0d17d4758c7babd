"""The version of a table: the schema version, promoted columns and rule that it was created with or migrated to.

The registry may be ahead of the tables. Until `migrate apply` has brought them up to it, every verb that reads or
writes them uses *their* version, so that a newer registry never stops a run, and no run mixes two rules in one table.
Each table of records has its version in its properties.

Tables from before the rule was kept have no such property. Their rule is the registry's, except where their metadata
show that they were made by another key or order. The next run writes it into the properties (`adopt`).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import uuid
from collections.abc import Mapping
from contextlib import suppress

from compactor.errors import CompactorError, ConflictError, TableVersionChanged, UsageError
from compactor.lake import layout, table_changes
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset, Promotion, Rule

log = logging.getLogger(__name__)

_VERSION, _PROMOTED, RULE = "compactor.schema-version", "compactor.promoted", "compactor.rule"
ROLLING_BACK = "compactor.rolling-back"
"""A property of a history while its dataset is being rolled back: the tag."""


def marks(dataset: Dataset) -> dict[str, str]:
    """The properties of a table that has this dataset's version."""
    promoted = [each.stored() for each in dataset.promoted]
    return {
        _VERSION: str(dataset.newest.number),
        _PROMOTED: json.dumps(promoted, separators=(",", ":")),
        RULE: json.dumps(dataset.rule.stored(), separators=(",", ":")),
    }


def version(properties: Mapping[str, str], dataset: Dataset) -> int:
    """The schema version of a table. Without the property it is the first."""
    return int(properties.get(_VERSION, min(dataset.versions)))


def of_table(dataset: Dataset, table: Table, current: Table | None) -> Dataset:
    """The dataset at the version of one of its tables. See `of_marks`."""
    return of_marks(dataset, table.properties, current)


def of_marks(dataset: Dataset, properties: Mapping[str, str], current: Table | None) -> Dataset:
    """The dataset at the version that the properties of a table name.

    Args:
        current: the dataset's current table, if it has one: it shows the rule of tables that do not name theirs.

    Raises UsageError where the registry does not have the table's version (any more).
    """
    number = version(properties, dataset)
    if number not in dataset.versions:
        newer = number > dataset.newest.number
        step = "put that version back, or run `compactor migrate rollback` with it" if newer else "list it again"
        raise UsageError(
            f"{dataset.file}: the tables of {dataset.name} have version {number}, which is not listed; {step}"
        )
    listed = json.loads(properties.get(_PROMOTED, "null"))
    promoted = dataset.promoted if listed is None else [Promotion.of_stored(each) for each in listed]
    found = dataset.at(number, promoted)
    rule = Rule.of_stored(json.loads(properties[RULE])) if RULE in properties else _made_by(found, current)
    check_kind(dataset, rule.kind)
    for column in rule.columns:
        if column not in {field.column for field in found.newest.fields}:
            raise UsageError(
                f"{dataset.file}: the tables of {dataset.name} have '{column}' in their key, order or delete rule, and"
                f" version {number} does not list it; put it back, and see `compactor migrate plan`"
            )
    return found.ruled_by(rule)


def check_kind(dataset: Dataset, kind: str) -> None:
    """Raises UsageError where the tables are of another kind than the registry says."""
    if kind != dataset.kind:
        raise UsageError(
            f"{dataset.file}: the tables of {dataset.name} are of kind {kind}, and the registry says {dataset.kind};"
            " put the old kind back, or load the export under another dataset name"
        )


def _made_by(dataset: Dataset, current: Table | None) -> Rule:
    """The rule that tables without the property were made by, as far as the current table shows; else the registry's.

    Args:
        dataset: at the version of the tables.
    """
    rule = dataset.rule
    if current is None or dataset.current_layout is None:
        return rule
    made = layout.made_with(current)
    columns = {field.column for field in dataset.newest.fields}
    if made.identifier and columns.issuperset(made.identifier):
        rule = dataclasses.replace(rule, key=tuple(sorted(made.identifier)))
    if dataset.current_layout.partition is None and made.day_of in columns:
        rule = dataclasses.replace(rule, order=str(made.day_of))
    return rule


def adopt(table: Table, dataset: Dataset) -> None:
    """Writes the rule into the properties of a table that does not name its own.

    Args:
        dataset: at the version of the table.
    """
    if RULE not in table.properties:
        with suppress(ConflictError):  # of a run that does the same, or of any other; then the next run does it
            table_changes.set_properties(table, {RULE: marks(dataset)[RULE]}, commit_id=uuid.uuid4().hex)
            log.info("table %s has its key, order and delete rule in its properties now", table.identifier)


def target(dataset: Dataset, found: Dataset) -> Dataset:
    """The target of a migration: the registry's newest version and rule, and the columns that runs have added.

    Args:
        found: the dataset at the version of its tables.
    """
    if dataset.additive != "evolve":
        return dataset
    taken = {name for name, _, _ in dataset.columns}
    evolved = [each for each in found.promoted if each.evolved and each.column not in taken]
    filled = [dataclasses.replace(each, filled=True, exact=True) for each in evolved]
    return dataset.at(dataset.newest.number, [*dataset.promoted, *filled])


def of_dataset(dataset: Dataset, history: Table, current: Table | None) -> Dataset:
    """The dataset at the version of its tables.

    Raises CompactorError where the tables differ from each other, which a stopped migration can cause.
    """
    found = of_table(dataset, history, current)
    if ROLLING_BACK in history.properties:
        raise CompactorError(f"{dataset.name}: a rollback was stopped; run `compactor migrate rollback` to finish it")
    if current is not None and of_table(dataset, current, current) != found:
        raise CompactorError(f"{dataset.name}: a migration was stopped; run `compactor migrate apply` to finish it")
    return found


def check(dataset: Dataset, history: Table) -> None:
    """Raises TableVersionChanged where the history no longer has the version of `dataset`."""
    if {**marks(dataset), **history.properties} != {**history.properties, **marks(dataset)}:
        raise TableVersionChanged(f"{dataset.name}: its tables were migrated meanwhile")


def warn_if_behind(dataset: Dataset, found: Dataset) -> None:
    """Warns that the registry is ahead of the tables.

    Args:
        found: the dataset at the version of its tables.
    """
    if found.newest.number != dataset.newest.number:
        what = f"of version {found.newest.number}, the registry has version {dataset.newest.number}"
    elif inexact := [each.column for each in found.promoted if not each.exact]:
        what = f"filled by older, inexact rules in the column{'s' if inexact[1:] else ''} {', '.join(inexact)}"
    elif missing := [each.column for each in dataset.promoted if each not in found.promoted]:
        what = f"without the promoted column{'s' if missing[1:] else ''} {', '.join(missing)}"
    elif unfilled := [each.column for each in found.promoted if not each.filled]:
        what = f"not filled yet in the column{'s' if unfilled[1:] else ''} {', '.join(unfilled)}"
    else:
        what = ""
    if what:
        log.warning("%s: its tables are %s; see `compactor migrate plan`", dataset.name, what)
    if changes := found.rule.changes(dataset.at(found.newest.number, found.promoted).rule):
        log.warning(
            "%s: its tables keep their rule until `compactor migrate apply`, where %s; see `compactor migrate plan`",
            dataset.name,
            ", ".join(changes),
        )

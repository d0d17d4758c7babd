"""The version of a table: the schema version and the promoted columns that it was created with or migrated to.

The registry may be ahead of the tables. Until `migrate apply` has brought them up to it, every verb that reads or
writes them uses *their* version, so that a newer registry never stops a run. Each table of records has its version in
its properties.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping

from compactor.errors import CompactorError, TableVersionChanged, UsageError
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset, Promotion

log = logging.getLogger(__name__)

_VERSION, _PROMOTED = "compactor.schema-version", "compactor.promoted"
ROLLING_BACK = "compactor.rolling-back"
"""A property of a history while its dataset is being rolled back: the tag."""


def marks(dataset: Dataset) -> dict[str, str]:
    """The properties of a table that has this dataset's version."""
    promoted = [each.stored() for each in dataset.promoted]
    return {_VERSION: str(dataset.newest.number), _PROMOTED: json.dumps(promoted, separators=(",", ":"))}


def version(properties: Mapping[str, str], dataset: Dataset) -> int:
    """The schema version of a table. Without the property it is the first."""
    return int(properties.get(_VERSION, min(dataset.versions)))


def of_table(dataset: Dataset, properties: Mapping[str, str]) -> Dataset:
    """The dataset at the version of a table with these properties.

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
    if listed is None:
        return dataset.at(number, dataset.promoted)
    return dataset.at(number, [Promotion.of_stored(each) for each in listed])


def target(dataset: Dataset, properties: Mapping[str, str]) -> Dataset:
    """The target of a migration: the registry's newest version, and the columns that runs have added."""
    if dataset.additive != "evolve":
        return dataset
    taken = {name for name, _, _ in dataset.columns}
    evolved = [each for each in of_table(dataset, properties).promoted if each.evolved and each.column not in taken]
    filled = [dataclasses.replace(each, filled=True, exact=True) for each in evolved]
    return dataset.at(dataset.newest.number, [*dataset.promoted, *filled])


def of_dataset(dataset: Dataset, history: Table, current: Table | None) -> Dataset:
    """The dataset at the version of its tables.

    Raises CompactorError where the tables differ from each other, which a stopped migration can cause.
    """
    found = of_table(dataset, history.properties)
    if ROLLING_BACK in history.properties:
        raise CompactorError(f"{dataset.name}: a rollback was stopped; run `compactor migrate rollback` to finish it")
    if current is not None and of_table(dataset, current.properties) != found:
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
        return
    log.warning("%s: its tables are %s; see `compactor migrate plan`", dataset.name, what)

"""Whether the source looks like a place where exports arrive: a wrong URL or an empty mount lists nothing, each night.

A run lists some hours alone, in which there may well be nothing new. So these checks look at the source as a whole, for
one object, and only where there is none do they look around.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import islice

from compactor import config
from compactor.errors import CompactorError, SourceError
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES, RUNS
from compactor.log import printable
from compactor.registry.loader import Registry
from compactor.reports.report import Problem
from compactor.source import EXPORTS, IgnoredKeys, Source, open_source
from compactor.yaml_file import did_you_mean, nearest

_UNKNOWN_SHOWN = 10
_COUNTED = 1_000
_CHILDREN = 50
_MAY_BE_EMPTY = "if it may be without exports, run with --allow-empty-source"


def check(
    settings: config.Source, source: Source, registry: Registry, lake: Lakehouse, *, allow_empty: bool
) -> list[Problem]:
    """The datasets that the registry does not know and, unless `allow_empty`, that there is no export at all.

    Raises SourceError where the source cannot be listed.
    """
    names = source.datasets()
    problems = _unknown(source, names, registry)
    if not allow_empty and (found := _without_exports(settings, source, names, registry, lake)):
        wrong, step = found
        problems.append(Problem(source.url, wrong, step, fails=True))
    return problems


def _unknown(source: Source, names: Sequence[str], registry: Registry) -> list[Problem]:
    unknown = [name for name in names if name not in registry.datasets]
    problems = []
    for name in unknown[:_UNKNOWN_SHOWN]:
        step = f"add it, such as with `compactor infer --dataset {shlex.quote(printable(name))}`"
        near = did_you_mean(name, list(registry.datasets)) if nearest(name, list(registry.datasets)) else ""
        objects = _counted(source, name)
        wrong = f"the registry does not know this dataset of the source, so none of its objects ({objects}) is loaded"
        problems.append(Problem(printable(name), wrong, f"{step}{near}"))
    if more := unknown[_UNKNOWN_SHOWN:]:
        wrong = f"the registry does not know {len(more):,} more datasets of the source"
        problems.append(Problem(source.url, wrong, "see `compactor infer --check`"))
    return problems


def _counted(source: Source, name: str) -> str:
    try:
        count = sum(1 for _ in islice(source.list(name), _COUNTED))
    except SourceError:
        return "they cannot be listed"
    return f"{count:,} or more" if count == _COUNTED else f"{count:,}"


def _without_exports(
    settings: config.Source, source: Source, names: Sequence[str], registry: Registry, lake: Lakehouse
) -> tuple[str, str] | None:
    """What is wrong with a source that has no export of any dataset of the registry, and the next step; else None."""
    known, ignored = [name for name in names if name in registry.datasets], IgnoredKeys()
    try:
        if any(True for name in known for _ in islice(source.list(name, ignored=ignored), 1)):
            return None
    except SourceError:
        return None  # the dataset that cannot be listed reports it
    if ignored.count:
        wrong = f"no object below {EXPORTS} has the key of an export; one of them is {ignored.examples[0]}"
        return wrong, "correct source.url, or what writes the exports"
    if names and not known:
        wrong = f"none of the folders below {EXPORTS} is a dataset of the registry"
        return wrong, "correct source.url or schemas, or add them with `compactor infer`"
    loaded_before = _has_rows(lake, FILES)
    although = ", although objects were loaded before" if loaded_before else ""
    if not source.has_exports():
        return f"there is no folder below {source.url}/{EXPORTS}{although}", _where(settings, source)
    if not (loaded_before or _has_rows(lake, RUNS)):
        return None  # the very first run may come before the first export
    what = "has no export any more" if loaded_before else "has never had an export"
    return f"the source {what}: {EXPORTS} is empty", f"check source.url and that it is mounted; {_MAY_BE_EMPTY}"


def _has_rows(lake: Lakehouse, name: str) -> bool:
    """Whether one of the program's own tables has rows. A table that cannot be read was not empty."""
    try:
        table = lake.find(name)
        return table is not None and bool(table.files)
    except CompactorError:
        return True


def _where(settings: config.Source, source: Source) -> str:
    """The step for a source without `exports/`: it says where one is, if that is one level away."""
    correct = "correct source.url: it is the part before exports/"
    url, folder = settings.url.rstrip("/"), EXPORTS.rstrip("/")
    parent = url.rpartition("/")[0]
    inside = f"{url}/".rpartition(f"/{folder}/")[0]
    try:
        if inside and _has_exports(settings, inside):
            return f"{correct}, so set it to {inside}"
        if not parent.endswith(("/", ":")) and _has_exports(settings, parent):
            return f"{correct}; there is one in {parent}"
        children = source.folders()
        if not children:
            return f"check that it is mounted, and {correct}; {_MAY_BE_EMPTY}"
        for name in children[:_CHILDREN]:
            if name.lower() == folder:
                return f"rename its folder {printable(name)} to {folder}"
            if _has_exports(settings, f"{url}/{name}"):
                return f"{correct}; there is one in {printable(name)}/"
    except CompactorError:
        pass  # the permission is for exports/ alone
    return f"{correct}; {_MAY_BE_EMPTY}"


def _has_exports(settings: config.Source, url: str) -> bool:
    return open_source(settings.model_copy(update={"url": url})).has_exports()

"""`infer`: drafts the registry's files from the data, for an export whose fields have other names.

It needs a source only: no registry, no catalog, no table. It writes only the files of `--out`.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path

from compactor.commands.infer import sample
from compactor.commands.infer.draft import draft
from compactor.commands.infer.evidence import DatasetEvidence, gather
from compactor.commands.infer.sample import Sample
from compactor.config import Config
from compactor.errors import UsageError
from compactor.reports.data import InferredDataset, InferReport
from compactor.source import Hour, Source, open_source

OBJECTS = 50
"""Objects of each dataset that are read by default."""

log = logging.getLogger(__name__)


def infer(
    config: Config,
    *,
    datasets: tuple[str, ...] = (),
    start: Hour | None = None,
    stop: Hour | None = None,
    objects: int = OBJECTS,
    out: Path | None = None,
) -> InferReport:
    """Drafts the registry of the datasets.

    Args:
        datasets: names of folders in the source. Default: all.
        start, stop: read only objects of these hours, both inclusive.
        objects: read at most so many objects of each dataset.
        out: folder to write the files to. Default: none; the report holds the texts.

    Raises:
        UsageError: the source has no such folder, or `out` has a file of that name with another content.
        SourceError: the source cannot be read.
    """
    source = open_source(config.source)
    found = [_inferred(config, source, name, start, stop, objects) for name in sample.folders(source, datasets)]
    for each in found:
        if each.problem:
            log.warning("%s: nothing inferred: %s", each.dataset, each.problem)
    return InferReport(tuple(found if out is None else _written(found, out)))


def _inferred(
    config: Config, source: Source, name: str, start: Hour | None, stop: Hour | None, objects: int
) -> InferredDataset:
    if not re.fullmatch(r"(?!compactor_)[a-z][a-z0-9_]*", name):
        return InferredDataset(name, 0, 0, problem="the name of a dataset is in lower snake case, such as fan_profiles")
    taken = sample.choose(source, name, start, stop, objects)
    found = gather(sample.read(taken, source.open, config.limits))
    report = InferredDataset(
        name, len(taken.objects), taken.listed, found.lines, dict(sorted(found.bad.items())), tuple(taken.unreadable)
    )
    if not found.versions:
        problem = "no record in the sample" if taken.objects else "no exported object in these hours"
        return dataclasses.replace(report, problem=problem)
    drafted = draft(name, _facts(taken, found), found)
    return dataclasses.replace(report, yaml=drafted.text, checks=drafted.checks)


def _facts(taken: Sample, found: DatasetEvidence) -> list[str]:
    hours = f"{taken.objects[0].hour} to {taken.objects[-1].hour}"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.bad.items()))
    bad = f", {sum(found.bad.values()):,} of them bad: {reasons}" if reasons else ""
    return [
        f"Inferred from {len(taken.objects):,} of {taken.listed:,} objects, {hours}, {found.lines:,} lines{bad}.",
        *([f"Only the first lines of {taken.cut:,} of the objects were read."] if taken.cut else []),
        *([f"{len(taken.unreadable):,} of the objects could not be read."] if taken.unreadable else []),
        "A sample proves nothing: read this file, above all each `check this`, before the first `compact` creates the",
        "tables.",
    ]


def _written(found: list[InferredDataset], folder: Path) -> list[InferredDataset]:
    """Writes all files or none. A file that exists with another content may hold somebody's work: it is an error."""
    files = {each.dataset: folder / f"{each.dataset}.yaml" for each in found if each.yaml is not None}
    texts = {each.dataset: each.yaml or "" for each in found}
    differing = [path for name, path in files.items() if path.exists() and path.read_text("utf-8") != texts[name]]
    if differing:
        names = ", ".join(map(str, differing))
        raise UsageError(
            f"{names}: exists already with another content, and is not overwritten; name another folder with --out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        path.write_text(texts[name], "utf-8")
    return [dataclasses.replace(each, path=str(files[each.dataset])) if each.yaml else each for each in found]

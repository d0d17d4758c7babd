"""Starts a new lake: writes its config and, on request, copies the registry and the views for editing.

The texts are the example configs of `configs/`, with paths for the new folder. Nothing is ever overwritten.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from compactor.config import packaged
from compactor.errors import UsageError
from compactor.reports.report import Report

CONFIG = "compactor.yaml"
REFERENCE = "reference.yaml"
_FOLDERS = ("schemas", "views")
_PACKAGED = """
# The registry (what each dataset is) and the views come with the program. To edit them, let
# `compactor init NEW_FOLDER --registry` copy them, and set here where the copies are:
# schemas: schemas
# views: views
"""
_COPIED = """
# What each dataset is: one YAML file per dataset. And the views: one SQL file per view. Edit both as you need.
schemas: schemas
views: views
"""


@dataclass(frozen=True)
class InitReport(Report):
    """What `init` wrote. `config` is the path of the config, `next` the command to run next, `note` what it needs."""

    config: str
    written: tuple[str, ...]
    next: str
    note: str


def init(folder: Path, *, aws: bool = False, registry: bool = False) -> InitReport:
    """Writes the config, and the reference of all its keys, into `folder`.

    Args:
        folder: made if it does not exist.
        aws: write the config for S3 and Glue instead of the one for this machine.
        registry: also copy the registry and the views; the config then refers to the copies.

    Raises:
        UsageError: a file to write is already there (nothing is written then), or the folder cannot be written.
    """
    files = {folder / CONFIG: _config(aws=aws, registry=registry), folder / REFERENCE: _reference()}
    if registry:
        for name in _FOLDERS:
            sources = sorted(each for each in packaged(name).iterdir() if each.is_file())
            files |= {folder / name / each.name: each.read_text(encoding="utf-8") for each in sources}
    present = [str(path) for path in files if path.exists()]
    if present:
        raise UsageError(
            f"{', '.join(present)}: already there, and nothing is overwritten; choose another folder, or move the file"
        )
    _write(files)
    config = folder / CONFIG
    command = f"compactor -c {shlex.quote(str(config))} {'infer --check' if aws else 'compact'}"
    note = (
        "set ROVER_EXPORT_BUCKET, ROVER_LAKE_BUCKET and AWS_REGION first"
        if aws
        else f"put the export into {folder / 'data' / 'source' / 'exports'} first, or set source.url to its place"
    )
    return InitReport(str(config), tuple(map(str, files)), command, note)


def _config(*, aws: bool, registry: bool) -> str:
    text = packaged("aws.yaml" if aws else "local.yaml").read_text(encoding="utf-8")
    return _in_place(text) + (_COPIED if registry else _PACKAGED)


def _reference() -> str:
    return _in_place(packaged(REFERENCE).read_text(encoding="utf-8"))


def _in_place(text: str) -> str:
    """The example configs lie in a folder beside `data`. The new config lies in the same folder as `data`."""
    return text.replace("../data/", "data/")


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:  # "x": another process may have written it just now
                file.write(text)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}; choose a folder that you can write") from error

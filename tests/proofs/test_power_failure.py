"""Each file that a committed version of a table names was on the disk before the commit, and so was its name.

A power failure cannot be made here. It takes from files the bytes that were not synced, and from folders the names.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
import sqlalchemy
from pyiceberg.table import StaticTable

from compactor.commands.migrate import migrate
from compactor.commands.replay import replay
from compactor.progress import NullProgress
from tests.support.lake import Lake
from tests.support.versioned_fans import FANS, IN_PLACE, RETYPE, fan

QUIET = NullProgress()


class Disk:
    """What is on the disk for sure. `lost` are the files that a commit named while they, or their names, were not."""

    def __init__(self) -> None:
        self.synced: dict[Path, tuple[int, int, int]] = {}
        self.folders: dict[Path, int] = {}
        self.lost: set[Path] = set()
        self.modes: set[Any] = set()
        self.commits = self.named = self.intents = 0
        self._steps = 0
        self._fsync = os.fsync

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        self._steps += 1
        path, found = opened(descriptor), os.fstat(descriptor)
        if path.is_dir():
            self.folders[path] = self._steps
        else:
            self.synced[path] = (self._steps, found.st_size, found.st_mtime_ns)

    def before_commit(self, connection: sqlalchemy.Connection) -> None:
        """Looks at all tables, as the transaction that is about to be committed has them."""
        self.commits += 1
        self.modes.add(connection.exec_driver_sql("PRAGMA synchronous").scalar())
        for (location,) in connection.exec_driver_sql("SELECT metadata_location FROM iceberg_tables").fetchall():
            for path in _named(location, self):
                self.named += 1
                if not self._holds(path):
                    self.lost.add(path)

    def _holds(self, path: Path) -> bool:
        """Whether the file was synced as it is, then its name, and the names of the folders above it."""
        found = path.stat()
        step, size, time = self.synced.get(path, (0, -1, -1))
        above = [folder for folder in path.parents if "lake" in folder.parts]
        return (
            (size, time) == (found.st_size, found.st_mtime_ns)
            and self.folders.get(path.parent, 0) > step
            and all(folder in self.folders for folder in above)
        )


def opened(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def _named(location: str, disk: Disk) -> Iterator[Path]:
    table = StaticTable.from_metadata(location)
    yield _path(location)
    snapshot = table.current_snapshot()
    if snapshot is None:
        return
    yield _path(snapshot.manifest_list)
    for manifest in snapshot.manifests(table.io):
        yield _path(manifest.manifest_path)
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield _path(entry.data_file.file_path)
    note = snapshot.summary.additional_properties.get("compactor.note") if snapshot.summary else None
    for part in ("ledger", "quarantine") if note else ():
        path = _path(f"{note}-{part}.parquet")
        if path.exists():  # it is deleted once it is settled
            disk.intents += 1
            yield path


def _path(location: str) -> Path:
    return Path(urlparse(location).path)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", disk.fsync)
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", disk.before_commit)
        try:
            yield disk
        finally:
            sqlalchemy.event.remove(sqlalchemy.Engine, "commit", disk.before_commit)


def nights(folder: Path) -> None:
    """New records, rejected lines, files written again, a migration, a replay."""
    schemas = folder / "schemas"
    schemas.mkdir()
    (schemas / "things.yaml").write_text(FANS, encoding="utf-8")
    lake = Lake(folder / "lake", schemas=schemas)
    lake.deliver_unmodelled("things", [fan(n) for n in range(5)])
    lake.compact()
    second = fan(9).replace(b'"version": 1', b'"version": 2')
    lake.deliver_unmodelled("things", [*(fan(n) for n in range(3, 8)), second, b"{"], part="b")
    lake.compact()
    (schemas / "things.yaml").write_text(FANS + IN_PLACE + RETYPE, encoding="utf-8")
    lake = Lake(folder / "lake", schemas=schemas)
    migrate.apply(lake.config, lake.registry, plan_id=None, progress=QUIET)
    replay(lake.config, lake.registry, progress=QUIET)
    assert len(lake.rows("things_history")) == 9


def test_each_file_that_a_commit_names_was_synced_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(monkeypatch) as disk:
        nights(tmp_path)
    assert disk.lost == set()
    assert disk.modes == {2}, "the catalog's database syncs its own commits: FULL"
    assert (disk.commits > 20, disk.named > 200, disk.intents > 0) == (True, True, True)


def test_without_the_setting_none_is_which_shows_that_the_proof_can_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path / "lake", settings="tables: {fsync: false}\n")
    with watched(monkeypatch) as disk:
        lake.tables.ensure(lake.registry, ["fan_profiles"])
    assert disk.synced == {}
    assert {path.suffix for path in disk.lost} == {".json"}


def test_a_folder_that_cannot_be_synced_stops_nothing_and_a_file_that_cannot_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(number: int, *, folders: bool) -> Any:
        def fsync(descriptor: int) -> None:
            if opened(descriptor).is_dir() == folders:
                raise OSError(number, os.strerror(number))

        return fsync

    lake = Lake(tmp_path)
    monkeypatch.setattr(os, "fsync", failing(errno.EINVAL, folders=True))
    lake.tables.ensure_own()
    monkeypatch.setattr(os, "fsync", failing(errno.EIO, folders=False))
    report = lake.compact(allow_empty_source=True)
    assert (report.exit_code, {"OSError" in problem.wrong for problem in report.problems}) == (1, {True})

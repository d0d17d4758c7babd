"""Claims about a folder as the source."""

from __future__ import annotations

import gzip
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from compactor.errors import ChangedObject, ObjectError, SourceError
from compactor.source import Hour, IgnoredKeys, open_source
from compactor.source.folder import LocalSource
from tests.support.sources import BIG, FIRST, SECOND, THIRD, Config, FolderStore, key_of, listed, only


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    source = open_source(Config(str(tmp_path / "nowhere")))
    for action in (source.datasets, lambda: listed(source)):
        with pytest.raises(SourceError, match=r"nowhere: there is no such folder; create it, or correct source\.url"):
            action()


def test_a_file_rewritten_with_the_same_size_is_a_changed_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), b"before")
    old = only(store.source)
    os.utime(tmp_path / old.key, ns=(0, 1))
    with pytest.raises(ChangedObject):
        store.source.open(old)


def test_a_file_replaced_with_the_same_size_and_time_is_a_changed_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), gzip.compress(b"before\n", mtime=0))
    old, path = only(store.source), tmp_path / key_of(FIRST)
    time = path.stat().st_mtime_ns
    path.write_bytes(gzip.compress(b"behind\n", mtime=0))
    os.utime(path, ns=(time, time))
    assert path.stat().st_size == old.size
    assert only(store.source).etag != old.etag
    with pytest.raises(ChangedObject):
        store.source.open(old)


def test_a_file_that_is_copied_or_gets_other_rights_keeps_its_etag(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), gzip.compress(b"a line\n"))
    old, path = only(store.source), tmp_path / key_of(FIRST)
    shutil.copy2(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)
    path.chmod(0o600)
    assert only(store.source) == old
    store.source.open(old).close()


def test_an_etag_without_a_mark_fits_each_content(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), b"a line")
    found = only(store.source)
    store.source.open(replace(found, etag=found.etag.partition("~")[0])).close()


def test_links_to_hours_are_followed_but_never_in_a_circle(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "lake")
    store.put(key_of(FIRST))
    day = tmp_path / "lake/exports/fan_profiles/date=2026-11-01"
    moved = tmp_path / "lake/exports/kept/2026-11-01"
    moved.parent.mkdir()
    day.rename(moved)
    day.symlink_to(moved)
    (day / "hour=06").symlink_to(day)
    (day / "hour=05/again").symlink_to(day)
    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == [key_of(FIRST)]
    assert "exports/fan_profiles/date=2026-11-01/hour=05/again" in ignored.examples


def test_a_pipe_with_an_exports_name_is_not_waited_for(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST))
    os.mkfifo(tmp_path / key_of(FIRST, "pipe"))
    assert listed(store.source) == [key_of(FIRST)]


def test_a_name_that_is_not_utf8_is_ignored_and_shown_escaped(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST, "\udcff"))
    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == []
    assert ignored.examples == [key_of(FIRST, r"\udcff")]


def test_folders_outside_the_window_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    for hour in (Hour("2025-01-01", 0), FIRST, SECOND, Hour("2026-11-01", 8), THIRD):
        store.put(key_of(hour))
    opened: list[str] = []
    scandir = os.scandir

    def noting(path: Path) -> object:
        opened.append(str(path.relative_to(tmp_path / "exports/fan_profiles")))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noting)
    assert listed(store.source, SECOND, SECOND) == [key_of(SECOND)]
    assert opened == [".", "date=2026-11-01", "date=2026-11-01/hour=06"]


def _denied(*args: object, **options: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_file_without_permission_is_an_object_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST))
    obj = only(store.source)
    monkeypatch.setattr("compactor.source.folder.ObjectFile", _denied)  # root may read any file
    with pytest.raises(ObjectError, match="permission denied; make it readable, then run again"):
        store.source.open(obj)


def test_a_folder_without_permission_is_a_source_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = LocalSource(str(tmp_path))
    monkeypatch.setattr(os, "scandir", _denied)
    with pytest.raises(SourceError, match="permission denied; make it readable, then run again"):
        source.datasets()


def test_a_disk_that_fails_in_the_middle_of_a_file_is_an_object_error(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(key_of(FIRST), BIG)
    with store.source.open(only(store.source)) as stream:
        stream.read(10)
        folder = os.open(tmp_path, os.O_RDONLY)
        os.dup2(folder, stream.fileno())  # reading a folder is an I/O error
        os.close(folder)
        with pytest.raises(ObjectError, match="is a directory; check the disk or mount, then run again"):
            stream.read()

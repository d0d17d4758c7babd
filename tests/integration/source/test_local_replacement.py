"""A local object that is replaced is loaded again, whatever its time and size are, and no other is."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from tests.support.bad_lines import record
from tests.support.lake import Lake
from tests.support.planted import PROFILES


def packed(name: str) -> bytes:
    return gzip.compress(record(id_=name) + b"\n", 0, mtime=0)  # not compressed, so that names of one length fit


def test_an_object_replaced_with_the_same_size_and_time_is_loaded_by_the_next_run(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    key = lake.deliver_unmodelled("fan_profiles", [], raw=packed("r1"))
    path = lake.source / key
    before = path.stat()
    assert lake.compact(datasets=PROFILES).exit_code == 0
    path.write_bytes(packed("r2"))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert lake.compact(datasets=PROFILES).datasets[0].new == 1
    assert lake.history("fan_profiles").keys() == {"r1", "r2"}
    assert lake.compact(datasets=PROFILES).datasets[0].objects == 0


def test_a_source_that_was_copied_or_got_other_rights_is_not_read_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    path = lake.source / lake.deliver_unmodelled("fan_profiles", [], raw=packed("r1"))
    assert lake.compact(datasets=PROFILES).datasets[0].objects == 1
    shutil.copytree(lake.source, tmp_path / "copy")
    shutil.rmtree(lake.source)
    (tmp_path / "copy").rename(lake.source)
    path.chmod(0o640)
    assert lake.compact(datasets=PROFILES).datasets[0].objects == 0


@pytest.mark.parametrize("readable", ["later", "earlier"])
def test_an_etag_without_a_mark_is_that_of_the_loaded_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: str
) -> None:
    """As in a lake of an earlier version, or where a loaded file can no longer be opened."""

    def unreadable(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    lake = Lake(tmp_path)
    lake.deliver_unmodelled("fan_profiles", [], raw=packed("r1"))
    for step in ("earlier", "later"):
        with monkeypatch.context() as patch:
            if readable != step:
                patch.setattr(os, "pread", unreadable)
            report = lake.compact(datasets=PROFILES)
        assert (report.exit_code, report.datasets[0].objects) == (0, int(step == "earlier"))
    assert ("~" in lake.ledger()[0]["etag"]) == (readable == "earlier")

"""The folder for spilled data, in a folder that other users may write to."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from compactor.duck import spill

SOMEBODY = 12345
"""The id of another user."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")


def left(parent: Path, name: str = "left") -> Path:
    """The folder of a run that was killed: nothing holds its lock."""
    folder = parent / f"compactor-spill-{name}"
    folder.mkdir(mode=0o700)
    (folder / "in-use").touch()
    (folder / "block.tmp").write_bytes(b"x" * 1000)
    return folder


def open_and_close(parent: Path) -> None:
    """Makes a spill folder, which removes what was left. It must not wait for anything."""

    def work() -> None:
        with spill.folder(parent):
            pass

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "it hangs"


def test_what_a_killed_run_left_is_removed_and_a_spill_folder_is_its_users_alone(tmp_path: Path) -> None:
    folder = left(tmp_path)
    with spill.folder(tmp_path) as mine:
        assert not folder.exists()
        assert stat.S_IMODE(mine.stat().st_mode) == 0o700
        with spill.folder(tmp_path):
            assert mine.exists()
    assert list(tmp_path.iterdir()) == []


def link_as_lock(parent: Path, victim: Path) -> Path:
    folder = left(parent)
    (folder / "in-use").unlink()
    (folder / "in-use").symlink_to(victim)
    return folder


def link_as_folder(parent: Path, victim: Path) -> Path:
    (victim.parent / "in-use").touch()
    folder = parent / "compactor-spill-link"
    folder.symlink_to(victim.parent, target_is_directory=True)
    return folder


def pipe_as_lock(parent: Path, _: Path) -> Path:
    folder = left(parent)
    (folder / "in-use").unlink()
    os.mkfifo(folder / "in-use")
    return folder


def folder_as_lock(parent: Path, _: Path) -> Path:
    folder = left(parent)
    (folder / "in-use").unlink()
    (folder / "in-use").mkdir()
    return folder


def file_as_folder(parent: Path, _: Path) -> Path:
    file = parent / "compactor-spill-file"
    file.touch()
    return file


def pipe_as_folder(parent: Path, _: Path) -> Path:
    os.mkfifo(parent / "compactor-spill-pipe")
    return parent / "compactor-spill-pipe"


@pytest.mark.parametrize(
    "trap", [link_as_lock, link_as_folder, pipe_as_lock, folder_as_lock, file_as_folder, pipe_as_folder]
)
def test_a_name_that_is_no_spill_folder_is_neither_followed_nor_emptied_nor_waited_for(
    tmp_path: Path, trap: Callable[[Path, Path], Path]
) -> None:
    parent, victim = tmp_path / "tmp", tmp_path / "elsewhere" / "catalog.db"
    for folder in (parent, victim.parent):
        folder.mkdir()
    victim.write_text("rows")
    planted = trap(parent, victim)

    open_and_close(parent)

    assert victim.read_text() == "rows"
    assert planted.lstat()


def test_a_link_inside_a_folder_that_is_removed_is_not_followed(tmp_path: Path) -> None:
    parent, victim = tmp_path / "tmp", tmp_path / "elsewhere"
    for folder in (parent, victim):
        folder.mkdir()
    (victim / "rows").write_text("rows")
    folder = left(parent)
    (folder / "more").symlink_to(victim, target_is_directory=True)

    open_and_close(parent)

    assert not folder.exists()
    assert (victim / "rows").read_text() == "rows"


@as_root
@pytest.mark.parametrize("theirs", ["folder", "lock"])
def test_what_another_user_owns_is_left_alone(tmp_path: Path, theirs: str) -> None:
    folder = left(tmp_path)
    os.chown(folder if theirs == "folder" else folder / "in-use", SOMEBODY, SOMEBODY)
    open_and_close(tmp_path)
    assert (folder / "block.tmp").exists()


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_without_a_setting_it_lies_in_a_folder_of_this_user_alone(shared: Path) -> None:
    own = shared / f"compactor-{os.geteuid()}"
    own.mkdir(mode=0o777)
    folder = left(own)
    with spill.folder(None) as mine:
        assert mine.parent == own
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert not folder.exists()


def a_link(own: Path, elsewhere: Path) -> None:
    own.symlink_to(elsewhere, target_is_directory=True)


def a_pipe(own: Path, _: Path) -> None:
    os.mkfifo(own)


def of_another_user(own: Path, _: Path) -> None:
    own.mkdir(mode=0o777)
    os.chown(own, SOMEBODY, SOMEBODY)


@pytest.mark.parametrize("taken", [a_link, a_pipe, pytest.param(of_another_user, marks=as_root)])
def test_a_name_that_somebody_has_taken_is_not_used_and_reported(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, taken: Callable[[Path, Path], None]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    taken(shared / f"compactor-{os.geteuid()}", elsewhere)
    with spill.folder(None) as mine:
        assert mine.parent == shared
    assert "is not a folder of this user" in caplog.text
    assert list(elsewhere.iterdir()) == []
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755

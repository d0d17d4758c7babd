"""A machine that runs short: one sentence that says of what, and a next run that makes everything right."""

from __future__ import annotations

import errno
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from compactor import diagnose
from compactor.config import Resources
from compactor.duck import session
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.processes import start

DATASETS = ("fan_profiles", "fan_track_events")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path, settings=f"resources: {{temp_dir: {tmp_path / 'spill'}}}")
    deliver(lake, 1)
    lake.compact(full_scan=True)
    deliver(lake, 2)
    return lake


def deliver(lake: Lake, seed: int) -> None:
    for delivery in History(seed, datasets=DATASETS, replaces=False).deliveries(4, 60):
        part = f"{seed}-{delivery.part}"
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=part)


def assert_next_run_completes(lake: Lake) -> None:
    assert lake.compact(full_scan=True).exit_code in (0, 3)
    lake.assert_equals_model(DATASETS)


def test_a_file_that_may_not_grow_fails_the_run_with_a_sentence_and_the_next_run_completes(lake: Lake) -> None:
    """As on a full disk, writing fails in the middle of a file; this limit needs no disk of its own."""
    run = start(lake, "compact", "--full-scan", largest_file=6 * 1024)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "nothing was loaded" in output or not output
    assert "File too large" in errors or "would exceed the limit" in errors or "the catalog's database" in errors
    assert "Traceback" not in errors
    assert_next_run_completes(lake)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission denied"),
        (MemoryError(), "there is not enough memory"),
    ],
)
def test_a_shortage_is_named_with_what_to_do(error: Exception, sentence: str) -> None:
    assert (diagnose.reason(error) or "").startswith(sentence)


def test_an_error_that_nobody_foresaw_is_not_explained_away() -> None:
    assert diagnose.reason(ValueError("x")) is None
    assert diagnose.reason(OSError("x")) is None


@contextmanager
def locked(lake: Lake) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(lake.folder / "warehouse" / "catalog.db", check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


@pytest.mark.parametrize("seconds", [4, pytest.param(30, marks=pytest.mark.soak)])
def test_a_catalog_that_is_locked_for_a_while_is_waited_for(lake: Lake, seconds: int) -> None:
    with locked(lake) as other:
        run = start(lake, "compact", "--full-scan")
        freed = threading.Timer(seconds, other.rollback)
        freed.start()
        began = time.monotonic()
        _, errors = run.communicate(timeout=120)
        freed.join()
    assert run.returncode in (0, 3), errors
    assert time.monotonic() - began > seconds - 1
    lake.assert_equals_model(DATASETS)


def test_a_catalog_that_stays_locked_fails_the_run_with_a_sentence(lake: Lake) -> None:
    warehouse = lake.folder / "warehouse"
    catalog = (
        f"catalog: {{properties: {{type: sql, uri: 'sqlite:///{warehouse}/catalog.db?timeout=0.1',"
        f" warehouse: 'file://{warehouse}'}}}}\n"
    )
    text = lake.file.read_text()
    lake.file.write_text(f"{text}\n{catalog}")
    with locked(lake):
        run = start(lake, "compact", "--full-scan")
        _, errors = run.communicate(timeout=120)
    assert run.returncode == 1, errors
    assert "locked by another process; run again" in errors
    assert "Traceback" not in errors
    lake.file.write_text(text)
    assert_next_run_completes(lake)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that was itself started in the background ignores SIGINT, and would hand that on to what it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_gets_a_signal_stops_within_seconds_and_says_how_to_continue(
    lake: Lake, interruptible: None, sent: signal.Signals
) -> None:
    deliver(lake, 3)
    text = lake.file.read_text()
    lake.file.write_text(f"{text}\nbatch: {{objects: 1}}\n")
    run = start(lake, "-v", "compact", "--full-scan")
    assert run.stderr is not None
    for line in run.stderr:
        if "fan_profiles:" in line:  # that dataset is done, and the next one has a commit for each object before it
            break
    run.send_signal(sent)
    began = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert run.returncode == 1
    assert "stopped; nothing partial was published, run it again to continue" in errors
    lake.file.write_text(text)
    assert_next_run_completes(lake)


def test_what_a_killed_run_spilled_is_removed_and_what_a_living_one_spills_is_not(tmp_path: Path) -> None:
    resources = Resources.model_validate({"temp_dir": str(tmp_path)}, context={"path": tmp_path / "c.yaml"})
    with session.session(resources):
        (mine,) = tmp_path.iterdir()
        left = tmp_path / "compactor-spill-left"
        left.mkdir()
        (left / "in-use").touch()
        (left / "block.tmp").write_bytes(b"x" * 1000)
        with session.session(resources):
            assert mine.exists()
            assert not left.exists()
            assert len(list(tmp_path.iterdir())) == 2
    assert list(tmp_path.iterdir()) == []

"""A machine that really runs short, of disk and of memory: one sentence, exit 1, and a next run that completes."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compactor import diagnose
from compactor.commands.verify.verify import verify
from tests.support.assertions import assert_one_sentence
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.namespace import Namespace, needs_namespaces
from tests.support.processes import start

DATASETS = ("fan_profiles", "fan_track_events")
FULL, READ_ONLY = "the disk is full; free some space", "the file system is read-only; mount it for writing"
MUCH = 150_000
ENDED_BENEATH = (-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV, 127)  # 127: by the C library's loader
SHORT_OF_MEMORY = ("there is not enough memory", "DuckDB's memory and its spill folder are full", "no more threads")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Tables that are there, and objects that are pending."""
    lake = Lake(tmp_path, settings=f"resources: {{temp_dir: {tmp_path / 'spill'}}}")
    history = History(1, datasets=DATASETS, replaces=False)
    deliver(lake, history, 4)
    lake.compact(datasets=DATASETS, full_scan=True)
    deliver(lake, history, 6)
    return lake


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[Namespace]:
    namespace = Namespace(tmp_path)
    yield namespace
    namespace.end()


def deliver(lake: Lake, history: History, count: int) -> None:
    for delivery in history.deliveries(count, 60):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)


@needs_namespaces
@pytest.mark.parametrize("step", [160, pytest.param(8, marks=pytest.mark.soak)])
def test_a_full_disk_fails_the_run_with_a_sentence_and_with_more_space_the_next_run_completes(
    lake: Lake, namespace: Namespace, step: int
) -> None:
    """The disk of the tables is full after 4 KB, then after `step` KB more, until there is enough."""
    warehouse = lake.folder / "warehouse"
    namespace.mount(warehouse)
    space, failed = 4, 0
    while True:
        namespace.give(warehouse, space)
        code, errors = namespace.compactor(lake, "compact", "--full-scan")
        if code != 1:
            break
        assert_one_sentence(code, errors, FULL)
        space, failed = space + step, failed + 1
    assert code in (0, 3), errors
    assert failed >= 2, f"enough with {space} KB: the test shows too little"
    assert_sound(lake, namespace)


@needs_namespaces
def test_a_warehouse_that_is_read_only_fails_the_run_with_a_sentence_and_mounted_for_writing_the_next_run_completes(
    lake: Lake, namespace: Namespace
) -> None:
    namespace.mount(lake.folder / "warehouse")
    namespace.must("mount", "-o", "remount,ro", lake.folder / "warehouse")
    assert_one_sentence(*namespace.compactor(lake, "compact", "--full-scan"), READ_ONLY)
    namespace.must("mount", "-o", "remount,rw", lake.folder / "warehouse")
    assert namespace.compactor(lake, "compact", "--full-scan")[0] in (0, 3)
    assert_sound(lake, namespace)


def assert_sound(lake: Lake, namespace: Namespace) -> None:
    code, errors = namespace.compactor(lake, "verify", "--rebuild")
    assert code == 0, errors
    namespace.keep(lake.folder / "warehouse")
    lake.assert_equals_model(DATASETS)


def much(lake: Lake) -> None:
    """An object whose rows do not fit in the little memory that the tests below give. It is more than a model reads."""
    lines = tuple(
        f'{{"id":"m{n}","version":1,"roverID":"fan-{n % 7}","emittedAt":"2026-11-01T00:00:00Z","event":"e",'
        f'"occurredAt":"2026-11-01T00:00:00Z","attributes":{{"text":"{n:064x}"}},"device":{{}}}}'.encode()
        for n in range(MUCH)
    )
    lake.deliver_unmodelled("fan_track_events", lines, part="much")


def assert_much_is_loaded(lake: Lake) -> None:
    lake.assert_equals_model(("fan_profiles",))
    assert [row["new"] for row in lake.ledger() if "much" in row["key"]] == [MUCH]
    assert all(check.ok for check in verify(lake.config, lake.registry, rebuild=True).checks)


@needs_namespaces
def test_a_full_spill_folder_fails_the_run_with_a_sentence_and_with_more_space_the_next_run_completes(
    lake: Lake, namespace: Namespace
) -> None:
    much(lake)
    spill = lake.folder / "spill"
    lake.file.write_text(lake.file.read_text().replace("temp_dir", "memory: 64MiB, threads: 1, temp_dir"))
    namespace.mount(spill)
    namespace.give(spill, 512)
    assert_one_sentence(*namespace.compactor(lake, "compact", "--full-scan"), FULL, SHORT_OF_MEMORY[1])
    namespace.give(spill, 1 << 20)
    code, errors = namespace.compactor(lake, "compact", "--full-scan")
    assert code in (0, 3), errors
    assert_much_is_loaded(lake)


@pytest.mark.parametrize(
    "megabytes", [8, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2, 4, 12, 16, 20, 24, 32, 40, 64))]
)
def test_too_little_memory_fails_the_run_with_a_sentence_and_with_more_the_next_run_completes(
    lake: Lake, megabytes: int
) -> None:
    """The engine's memory. With some of these it is enough, for what does not fit is spilled."""
    much(lake)
    text = lake.file.read_text()
    lake.file.write_text(text.replace("temp_dir", f"memory: {megabytes}MiB, temp_dir"))
    run = start(lake, "compact", "--full-scan")
    _, errors = run.communicate(timeout=120)
    if megabytes <= 8 or run.returncode not in (0, 3):
        assert_one_sentence(run.returncode, errors, *SHORT_OF_MEMORY)
    lake.file.write_text(text)
    lake.compact(datasets=DATASETS, full_scan=True)
    assert_much_is_loaded(lake)


def test_a_small_address_space_is_refused_before_anything_is_begun(lake: Lake) -> None:
    """The libraries abort, or wait for ever, with less than they reserve."""
    before = lake.data_files()
    command = [sys.executable, "-m", "compactor", "-c", str(lake.file), "compact", "--full-scan"]
    for megabytes in (300, 1_000, 3_071):
        limited = ["bash", "-c", f'ulimit -v {megabytes << 10}; exec "$@"', "bash", *command]
        run = subprocess.run(limited, check=False, capture_output=True, text=True, timeout=120)
        assert_one_sentence(run.returncode, run.stderr, f"the address space is limited to {megabytes} MiB (ulimit -v)")
        assert lake.data_files() == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit, which is Linux alone")
@pytest.mark.parametrize("megabytes", [1, *(pytest.param(n, marks=pytest.mark.soak) for n in (0, 2, 8, 32, 64, 128))])
def test_memory_that_runs_out_in_the_middle_ends_the_run_and_the_next_run_completes(
    lake: Lake, megabytes: int, record_property: Callable[[str, object], None]
) -> None:
    """Exit 1, or an end by the libraries beneath, or none: then it is killed. Nothing partial stays."""
    lake.file.write_text(f"{lake.file.read_text()}\nbatch: {{objects: 1}}\n")
    run = start(lake, "compact", "--full-scan")
    assert run.stderr is not None
    for line in run.stderr:
        if "fan_profiles:" in line:  # one dataset is done, the other has yet to be
            break
    used = int(Path(f"/proc/{run.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limit = used + (megabytes << 20)
    resource.prlimit(run.pid, resource.RLIMIT_AS, (limit, limit))
    try:
        _, errors = run.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        run.kill()
        _, errors = run.communicate()
    assert run.returncode in (0, 1, 3, *ENDED_BENEATH), errors
    record_property("is how it ended", run.returncode)
    if run.returncode == 1:
        assert "Traceback" not in errors
    assert_next_run_completes(lake)


def assert_next_run_completes(lake: Lake) -> None:
    run = start(lake, "compact", "--full-scan")
    _, errors = run.communicate(timeout=120)
    assert run.returncode in (0, 3), errors
    lake.assert_equals_model(DATASETS)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("can't start new thread"), "no more threads may be started"),
        (RuntimeError("x"), None),
        (OSError("Failed to launch worker thread: Resource temporarily unavailable"), "no more threads may be started"),
        (
            OSError("AWS Error SLOW_DOWN (HTTP status 503) during GetObject operation: no"),
            "S3 answered SLOW_DOWN to Get",
        ),
        (OSError("AWS Error ACCESS_DENIED during PutObject operation: no"), "access denied; grant s3:PutObject"),
    ],
)
def test_what_a_library_says_in_its_text_is_understood(error: Exception, sentence: str | None) -> None:
    reason = diagnose.reason(error)
    assert reason is None if sentence is None else (reason or "").startswith(sentence)

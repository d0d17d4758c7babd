"""Fuzzing finds nothing in the first batches of a seed, and would: a defect, a hang and a death are found."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import check_native, check_scanner, runner
from tests.fuzz.batch import Batch, Fault
from tests.fuzz.targets import TARGETS, batch, check
from tests.support import scanning

SEED = 7
WRONG_TEXT = ("columns.c", "it->text.used = (size_t)offsets(it)[row];", "it->text.used += 0;")
"""A defect: of a line that is not accepted, the texts stay."""


@pytest.mark.parametrize(
    ("target", "batches"),
    [("lines", 12), ("scanner", 12), ("native", 2), ("files", 25), ("registry", 12), ("keys", 10)],
)
def test_the_first_batches_of_a_seed_have_no_fault(target: str, batches: int) -> None:
    for number in range(batches):
        made = batch(target, SEED, number)
        assert made.inputs
        assert check(made) == [], f"batch({target!r}, {SEED}, {number})"


@pytest.mark.parametrize("target", TARGETS)
def test_a_batch_is_a_function_of_seed_and_number_and_survives_its_file(target: str) -> None:
    made = batch(target, 3, 4)
    assert made == batch(target, 3, 4) == Batch.from_json(made.to_json())
    assert made.inputs not in (batch(target, 3, 5).inputs, batch(target, 4, 4).inputs)


def test_a_defect_of_the_fast_path_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scanning.build(tmp_path / "scanner.so", plant=WRONG_TEXT)
    monkeypatch.setattr("compactor.native.LIBRARY", tmp_path / "scanner.so")
    found = ((made, check(made)) for made in (batch("lines", SEED, number) for number in range(20)))
    made, faults = next((made, faults) for made, faults in found if faults)
    small = runner.smallest(made, faults[0], seconds=5)
    assert (len(small.inputs) < len(made.inputs), small.target) == (True, "lines")
    path = runner.write(tmp_path, small, faults[0])
    assert faults[0].kind in [fault.kind for fault in check(Batch.from_json(path.read_text()))]
    monkeypatch.undo()
    assert runner.main(["--replay", str(path)]) == 0


def test_a_defect_of_the_scanner_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scanning.build(tmp_path / "scanner.so", plant=WRONG_TEXT)
    monkeypatch.setattr("compactor.native.LIBRARY", tmp_path / "scanner.so")
    found = (fault for number in range(20) for fault in check_scanner.faults(batch("scanner", SEED + 1, number)))
    assert "accepted" in next(found).kind


def test_a_defect_of_the_scanners_memory_is_found(tmp_path: Path) -> None:
    wrong = ("strings.c", "if (!buffer_has(out, STEP))", "if (!buffer_has(out, 1))")
    faults = check_native.faults(batch("native", SEED, 0), check_native.harness(tmp_path, wrong))
    assert [fault.kind for fault in faults] == ["native: AddressSanitizer: use-after-poison in copy_step"]


def hang(_: Batch) -> list[Fault]:
    threading.Event().wait()
    return []


def die(_: Batch) -> list[Fault]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def test_a_batch_that_hangs_or_kills_its_process_is_found() -> None:
    made = Batch("keys", (b"",))
    assert [fault.kind for fault in runner.in_time(made, 0.2, hang)] == ["keys: a batch hangs"]
    assert [fault.kind for fault in runner.in_time(made, 60, die)] == ["keys: the process ends with -9"]


def test_an_exception_is_a_fault_of_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("compactor.source.base.Hour.__init__", broken)
    (fault,) = check(Batch("keys", (b"2031-07-09",)))
    assert fault.kind.startswith("ZeroDivisionError in base.")


def test_a_run_counts_its_inputs_and_ends_in_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert runner.main(["--minutes", "0.02", "--only", "keys", "--seed", "3", "--out", str(tmp_path)]) == 0
    assert " inputs, 0 findings" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_leaving_out_keeps_what_matters() -> None:
    data = Random(1).randbytes(300) + b"x" + b"a" * 300 + b"y"
    assert runner.fewer(data, lambda less: b"x" in less and b"y" in less) in (b"xy", b"yx")

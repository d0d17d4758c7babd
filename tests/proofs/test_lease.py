"""The lease: the second run waits or leaves, and the lease is no more than a courtesy."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from compactor.lake.own_tables import FILES
from compactor.lake.table import Table
from compactor.progress import NullProgress
from compactor.publish import lease
from compactor.publish.lease import Holder, held
from compactor.publish.run_log import Run
from tests.support.histories import History
from tests.support.lake import ROOT, Lake

MINE = ("fan_profiles",)
LOADING = ("compact", "--dataset=fan_profiles", "--full-scan")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path)
    lake.tables.ensure(lake.registry, MINE)
    deliver(lake, 1)
    return lake


def deliver(lake: Lake, seed: int) -> None:
    for delivery in History(seed, datasets=MINE, replaces=False).deliveries(2, 10):
        lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=f"{seed}-{delivery.part}")


def begin(lake: Lake, verb: str = "compact") -> Run:
    return Run.begin(verb, lake.tables, NullProgress())


def elsewhere(lake: Lake) -> Holder:
    """A run on a machine that we know nothing of; its clock stands at the beginning of time."""
    return replace(Holder.of(begin(lake, "replay")), run_id="other-run", host="elsewhere", started_at="1970-01-01")


def path(lake: Lake) -> Path:
    return Path(lake.tables.table(FILES).location.removeprefix("file://")) / "notes" / "lease.json"


def write(lake: Lake, content: bytes) -> None:
    path(lake).parent.mkdir(exist_ok=True)
    path(lake).write_bytes(content)


class Waiting:
    """Time that passes only where somebody pauses, and what happens then: `each` is given the number of the pause."""

    def __init__(self, each: Callable[[int], object] = lambda _: None) -> None:
        self.pauses = 0
        self.seconds = 0.0
        self._each = each

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        self.seconds += seconds
        assert self.pauses < 1000, "it waits for ever"
        self._each(self.pauses)

    def clock(self) -> float:
        return self.seconds

    @contextmanager
    def held(self, lake: Lake, if_running: Any) -> Iterator[Holder | None]:
        with held(begin(lake), if_running, pause=self.pause, clock=self.clock) as other:
            yield other


def test_a_run_says_who_it_is_while_it_works_and_takes_that_away_in_the_end(lake: Lake) -> None:
    run = begin(lake)
    with held(run, "wait") as other:
        assert other is None
        said = json.loads(path(lake).read_bytes())
        assert (said["run_id"], said["verb"], said["pid"], said["beat"]) == (run.run_id, "compact", os.getpid(), 0)
    assert not path(lake).exists()


@pytest.mark.parametrize("end", [ValueError(), KeyboardInterrupt()])
def test_a_run_that_fails_or_is_stopped_takes_its_lease_away(lake: Lake, end: BaseException) -> None:
    with pytest.raises(type(end)), held(begin(lake), "wait"):
        raise end
    assert not path(lake).exists()


def test_the_lease_is_renewed_while_the_run_lasts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT", 0.01)
    renewed = watch_beats(monkeypatch, until=3)
    with held(begin(lake), "wait"):
        assert renewed.wait(timeout=60)
    assert not path(lake).exists()


def watch_beats(monkeypatch: pytest.MonkeyPatch, until: int) -> threading.Event:
    """The event of a beat of that number being written."""
    reached, content = threading.Event(), Holder.content

    def watched(self: Holder, beat: int) -> bytes:
        if beat == until:
            reached.set()
        return content(self, beat)

    monkeypatch.setattr(Holder, "content", watched)
    return reached


def test_a_living_run_is_waited_for_however_long_it_takes_and_named(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    other = elsewhere(lake)
    write(lake, other.content(0))
    beats = 4 * int(lease.DEAD_AFTER / lease.BEAT)

    def live(number: int) -> None:
        path(lake).unlink() if number == beats else write(lake, other.content(number // 3))

    waiting = Waiting(live)
    with caplog.at_level(logging.INFO), waiting.held(lake, "wait") as found:
        assert found is None
        assert waiting.pauses == beats
        assert Holder.parse(path(lake).read_bytes()).run_id != "other-run"
    logged = "run other-run (replay, host elsewhere, process {}, since 1970-01-01) holds the lease; waiting for its end"
    assert [record.message for record in caplog.records] == [logged.format(other.pid)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff"])
def test_of_what_is_no_lease_nothing_is_known(content: bytes) -> None:
    assert Holder.parse(content) == lease.UNKNOWN
    assert not lease.UNKNOWN.is_gone()


@pytest.mark.parametrize(("if_running", "whole"), [("wait", True), ("leave", True), ("wait", False)])
def test_a_lease_that_no_longer_changes_is_taken_over(
    lake: Lake, if_running: str, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write(lake, elsewhere(lake).content(7) if whole else b"")
    waiting = Waiting()
    with waiting.held(lake, if_running) as found:
        assert found is None
        assert lease.DEAD_AFTER <= waiting.seconds <= lease.DEAD_AFTER + lease.BEAT
        assert Holder.parse(path(lake).read_bytes()).pid == os.getpid()
    assert "has given no sign of life for 60 seconds; taking over" in caplog.text
    assert not path(lake).exists()


@pytest.mark.parametrize("if_running", ["wait", "leave", "ignore"])
def test_a_holder_of_this_machine_whose_process_is_gone_is_taken_over_at_once(
    lake: Lake, if_running: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write(lake, replace(Holder.of(begin(lake)), run_id="other-run", pid=ended.pid).content(7))
    waiting = Waiting()
    with waiting.held(lake, if_running) as found:
        assert (found, waiting.pauses) == (None, 0)
        assert Holder.parse(path(lake).read_bytes()).pid == os.getpid()
    assert "its process is gone; taking over" in caplog.text


def test_a_process_id_says_nothing_on_another_machine_or_in_another_container(lake: Lake) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = replace(Holder.of(begin(lake)), pid=ended.pid)
    assert mine.is_gone()
    assert not replace(mine, host="elsewhere").is_gone()
    assert not replace(mine, pids="pid:[1]").is_gone()
    assert not replace(mine, pid=os.getpid()).is_gone()


def test_who_is_to_leave_leaves_at_the_first_sign_of_life(lake: Lake) -> None:
    other = elsewhere(lake)
    write(lake, other.content(0))
    waiting = Waiting(lambda number: write(lake, other.content(number // 2)))
    with waiting.held(lake, "leave") as found:
        assert found == other
        assert waiting.pauses == 2
    assert Holder.parse(path(lake).read_bytes()) == other


def test_a_lease_that_is_being_written_is_no_sign_of_life_by_itself(lake: Lake) -> None:
    """A disk shows a file that is being rewritten as an empty one for a short time."""
    other = elsewhere(lake)
    write(lake, other.content(0))
    contents = [b"", b'{"run_id"', other.content(1)]
    waiting = Waiting(lambda number: write(lake, contents[number - 1]))
    with waiting.held(lake, "leave") as found:
        assert (found, waiting.pauses) == (other, 3)


def test_a_run_that_ignores_the_lease_runs_beside_the_other_and_leaves_its_lease_alone(lake: Lake) -> None:
    other = elsewhere(lake)
    write(lake, other.content(0))
    waiting = Waiting()
    with waiting.held(lake, "ignore") as found:
        assert (found, waiting.pauses) == (None, 0)
    assert path(lake).read_bytes() == other.content(0)


def test_a_run_whose_lease_was_taken_continues_and_leaves_the_new_one_alone(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stood still for too long, and is awake again."""
    run, other = begin(lake), elsewhere(lake)
    monkeypatch.setattr(lease, "BEAT", 0.01)
    with held(run, "wait"):
        for _ in range(1000):  # a beat that has just begun writes the old lease once more
            write(lake, other.content(0))
            if "has taken the lease of this run; both continue, side by side" in caplog.text:
                break
            time.sleep(0.01)
        else:
            pytest.fail("the run did not see that its lease was taken")
    assert path(lake).read_bytes() == other.content(0)


@pytest.mark.parametrize("method", ["open", "create", "delete"])
def test_a_lease_that_cannot_be_kept_fails_no_run_and_is_logged_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    original = getattr(Table, method)

    def failing(self: Table, place: str) -> Any:
        if place.endswith("lease.json"):
            raise OSError("AWS Error ACCESS_DENIED during PutObject operation")
        return original(self, place)

    monkeypatch.setattr(Table, method, failing)
    monkeypatch.setattr(lease, "BEAT", 0.01)
    renewed = watch_beats(monkeypatch, until=3)
    with held(begin(lake), "wait"):
        assert renewed.wait(timeout=60)
    lake.compact(datasets=MINE, full_scan=True)
    lake.assert_equals_model(MINE)
    warnings = [record.message for record in caplog.records if record.name == "compactor.publish.lease"]
    assert warnings[0] == (
        "the lease cannot be used, other runs may start beside this one:"
        " access denied; grant s3:PutObject on the tables' bucket"
    )
    assert len(warnings) <= 2  # once for each of the two runs


HALTING = """
import sys
from compactor.cli import main as cli
from compactor.engines.local import LocalBatch
from compactor.publish import lease
lease.BEAT = 0.1
read = LocalBatch.read

def halt(*arguments):
    if not sys.stdin.closed:
        print("halted", file=sys.stderr, flush=True)
        sys.stdin.read()
    return read(*arguments)

LocalBatch.read = halt
cli.run()
"""


class Halted:
    """`compactor` as a process of its own that beats quickly, and halts before it reads until it is let `go`."""

    def __init__(self, lake: Lake, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HALTING, "-c", str(lake.file), *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def says(self, words: str) -> None:
        """Reads on stderr up to a line with these words."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if words in line:
                return
        raise AssertionError(f"it ended without having said {words!r}")

    def go(self) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        output, errors = self.process.communicate(timeout=120)
        return self.process.returncode, output, errors


def test_of_two_real_runs_the_second_leaves_or_waits_and_then_loads_what_is_left(lake: Lake) -> None:
    with Halted(lake, *LOADING) as first:
        first.says("halted")
        running = Holder.parse(path(lake).read_bytes()).run_id
        deliver(lake, 2)  # the first has its list already

        with Halted(lake, *LOADING, "--json", "--if-running=leave") as leaving:
            code, output, errors = leaving.go()
        report = json.loads(output)
        assert (code, report["exit_code"], report["left_to"], report["datasets"]) == (0, 0, running, [])
        assert f"run {running} (compact, host " in errors
        assert "is under way; leaving it to that run" in errors

        with Halted(lake, *LOADING, "--json", "--if-running=wait") as waiting:
            waiting.says(f"run {running} (compact, host ")
            assert first.go()[0] in (0, 3)
            code, output, errors = waiting.go()
        assert code in (0, 3), errors
        assert json.loads(output)["datasets"][0]["objects"] == 2
    lake.assert_equals_model(MINE)
    assert not path(lake).exists()


def test_a_real_run_that_is_stopped_gives_its_lease_back_and_one_that_is_killed_makes_nobody_wait(lake: Lake) -> None:
    with Halted(lake, *LOADING) as stopped:
        stopped.says("halted")
        assert path(lake).exists()
        stopped.process.send_signal(signal.SIGTERM)
        code, _, errors = stopped.go()
        assert (code, "stopped; nothing partial was published" in errors) == (1, True)
        assert not path(lake).exists()
    with Halted(lake, *LOADING) as killed:
        killed.says("halted")
    assert path(lake).exists()
    lake.compact(datasets=MINE, full_scan=True, if_running="wait")
    lake.assert_equals_model(MINE)
    assert not path(lake).exists()

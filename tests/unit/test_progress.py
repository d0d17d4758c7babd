"""Progress on a fake clock."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.console import Console

from compactor.progress import BarProgress, LogProgress, NullProgress, Progress


class Clock:
    """A clock that the test sets, in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def _hear_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="compactor")


def work(progress: Progress, clock: Clock, steps: int, seconds: float) -> None:
    """Loads one file a step: 100 lines, 5 of 40 compressed bytes, 10 MB uncompressed."""
    for _ in range(steps):
        clock.now += seconds
        progress.advance(files=1, lines=100, compressed_bytes=5, raw_bytes=10_000_000)


def test_log_lines_come_every_30_seconds_at_most_and_at_the_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with LogProgress(clock) as progress:
        progress.start("fan_profiles", files=8, compressed_bytes=40)
        progress.stage("reading")
        work(progress, clock, steps=8, seconds=10)
        progress.finish()
    assert caplog.messages == [
        "fan_profiles: 3/8 files, 300 lines, 1.0 MB/s, reading, about 50.0 s left",
        "fan_profiles: 6/8 files, 600 lines, 1.0 MB/s, reading, about 20.0 s left",
        "fan_profiles: 8/8 files, 800 lines, 1.0 MB/s, done in 0:01:20",
    ]


def test_log_lines_carry_their_counts_as_fields(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress = LogProgress(clock)
    progress.start("fan_profiles", files=1, compressed_bytes=5)
    work(progress, clock, steps=1, seconds=1)
    progress.finish()
    fields = vars(caplog.records[-1])
    assert (fields["dataset"], fields["files"], fields["lines"]) == ("fan_profiles", 1, 100)


def test_each_dataset_counts_from_zero(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with LogProgress(clock) as progress:
        for dataset in ("a", "b"):
            progress.start(dataset, files=1, compressed_bytes=5)
            work(progress, clock, steps=1, seconds=2)
            progress.finish()
    assert caplog.messages == [
        "a: 1/1 files, 100 lines, 5.0 MB/s, done in 2.0 s",
        "b: 1/1 files, 100 lines, 5.0 MB/s, done in 2.0 s",
    ]


def test_a_dataset_that_fails_is_not_called_done(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with LogProgress(clock) as progress:
        progress.start("fan_profiles", files=2, compressed_bytes=10)
        work(progress, clock, steps=1, seconds=1)
    progress.finish()
    assert caplog.messages == []


def test_a_dataset_without_bytes_or_time_divides_by_nothing(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    progress = LogProgress(clock)
    progress.start("fan_profiles", files=0, compressed_bytes=0)
    progress.advance(lines=1, raw_bytes=5)
    progress.finish()
    assert caplog.messages == ["fan_profiles: 0/0 files, 1 lines, 0.0 MB/s, done in 0.0 s"]


@pytest.mark.parametrize("kind", [NullProgress, LogProgress])
def test_what_comes_outside_a_dataset_is_ignored(
    kind: type[Progress], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with kind(clock) as progress:
        progress.advance(files=1)
        progress.stage("merging")
        progress.finish()
    assert caplog.messages == []


SHOW_CURSOR = "\x1b[?25h"


@pytest.fixture
def screen() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


def written(screen: Console) -> list[str]:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue().splitlines()


def test_the_bar_shows_files_speed_and_stage(clock: Clock, screen: Console) -> None:
    with BarProgress(clock, screen) as progress:
        progress.start("fan_profiles", files=8, compressed_bytes=40)
        work(progress, clock, steps=4, seconds=10)
        progress.stage("merging")
        progress.finish()
    *_, bar, end = written(screen)
    for part in ("fan_profiles", "4/8 files", "1.0 MB/s", "done"):
        assert part in bar
    assert end == SHOW_CURSOR


def test_a_bar_left_in_the_middle_gives_the_terminal_back(clock: Clock, screen: Console) -> None:
    with BarProgress(clock, screen) as progress:
        progress.start("fan_profiles", files=8, compressed_bytes=40)
    assert written(screen)[-1] == SHOW_CURSOR
    assert not any("done" in line for line in written(screen))


@pytest.mark.parametrize(
    ("terminal", "json_logs", "kind"),
    [(True, False, BarProgress), (True, True, LogProgress), (False, False, LogProgress)],
)
def test_a_bar_is_for_a_terminal_with_text_logs(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, json_logs: bool, kind: type[Progress]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert type(Progress.for_terminal(json_logs=json_logs)) is kind

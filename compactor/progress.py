"""How far a run is: a bar on a terminal, a log line now and then elsewhere, nothing for use as a library.

One dataset at a time: `start`, then any number of `advance` and `stage`, then `finish`. A dataset that fails is left
without `finish`: leaving the context ends the display. Call it from one thread. All sizes are bytes and one MB is
10**6 of them; the speed counts uncompressed bytes, the time left counts compressed ones, because only their total is
known beforehand.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

Clock = Callable[[], float]

log = logging.getLogger(__name__)


@dataclass
class Tally:
    """What one dataset has to do (`total_*`) and has done. `began` is the clock's reading at the start, in seconds."""

    dataset: str
    total_files: int
    total_compressed: int
    began: float
    stage: str = ""
    files: int = 0
    lines: int = 0
    compressed_bytes: int = 0
    raw_bytes: int = 0

    def megabytes_per_second(self, now: float) -> float:
        """Uncompressed bytes read since the start; 0.0 while no time has passed."""
        return self.raw_bytes / 1e6 / (now - self.began) if now > self.began else 0.0

    def seconds_left(self, now: float) -> float | None:
        """None while nothing is done yet, so that nothing can be foretold."""
        if not self.compressed_bytes:
            return None
        remaining = max(self.total_compressed - self.compressed_bytes, 0)
        return (now - self.began) * remaining / self.compressed_bytes


class Progress:
    """Counts, and shows nothing itself: the subclasses show. Safe to leave at any moment."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._tally: Tally | None = None

    @staticmethod
    def for_terminal(*, json_logs: bool = False, clock: Clock = time.monotonic) -> Progress:
        """A bar if stderr is a terminal and logs are for people, else log lines."""
        if sys.stderr.isatty() and not json_logs:
            return BarProgress(clock)
        return LogProgress(clock)

    def start(self, dataset: str, files: int, compressed_bytes: int) -> None:
        """Begins a dataset with `files` objects to load, of `compressed_bytes` together."""
        self._tally = Tally(dataset, files, compressed_bytes, began=self._clock())
        self._started(self._tally)

    def advance(self, files: int = 0, lines: int = 0, compressed_bytes: int = 0, raw_bytes: int = 0) -> None:
        """Adds to what is done."""
        if tally := self._tally:
            tally.files += files
            tally.lines += lines
            tally.compressed_bytes += compressed_bytes
            tally.raw_bytes += raw_bytes
            self._changed(tally)

    def stage(self, text: str) -> None:
        """Says what is being done now, in one word: "merging", "committing"."""
        if (tally := self._tally) and tally.stage != text:
            tally.stage = text
            log.debug("%s: %s", tally.dataset, text)
            self._changed(tally)

    def finish(self) -> None:
        """Ends the dataset."""
        if tally := self._tally:
            self._tally = None
            self._finished(tally)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tally = None
        self._closed()

    def _started(self, tally: Tally) -> None: ...
    def _changed(self, tally: Tally) -> None: ...
    def _finished(self, tally: Tally) -> None: ...
    def _closed(self) -> None: ...


class NullProgress(Progress):
    """Shows nothing: for use as a library, and in tests."""


class LogProgress(Progress):
    """A log line at most every `EVERY` seconds, and one at the end of each dataset."""

    EVERY = 30.0

    def _started(self, tally: Tally) -> None:
        self._said = tally.began

    def _changed(self, tally: Tally) -> None:
        now = self._clock()
        if now - self._said >= self.EVERY:
            self._said = now
            left = tally.seconds_left(now)
            stage = f", {tally.stage}" if tally.stage else ""
            ahead = f", about {_duration(left)} left" if left else ""
            self._say(tally, now, f"{stage}{ahead}")

    def _finished(self, tally: Tally) -> None:
        now = self._clock()
        self._say(tally, now, f", done in {_duration(now - tally.began)}")

    def _say(self, tally: Tally, now: float, rest: str) -> None:
        rate = tally.megabytes_per_second(now)
        message = f"{_files(tally)}, {tally.lines:,} lines, {rate:,.1f} MB/s{rest}"
        counts = {"dataset": tally.dataset, "files": tally.files, "lines": tally.lines, "raw_bytes": tally.raw_bytes}
        log.info("%s: %s", tally.dataset, message, extra=counts)


class BarProgress(Progress):
    """A bar on stderr, one line a dataset. Log lines appear above it: `log.StderrHandler` writes to today's stderr."""

    def __init__(self, clock: Clock = time.monotonic, console: Console | None = None) -> None:
        super().__init__(clock)
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=20),
            bars.TextColumn("{task.fields[counts]}"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[stage]}"),
            console=console or Console(stderr=True),
            get_time=clock,
            redirect_stdout=False,  # stdout is for results, byte by byte as they were printed
        )

    def _started(self, tally: Tally) -> None:
        self._bars.start()
        self._task = self._bars.add_task(tally.dataset, total=tally.total_compressed, counts=_files(tally), stage="")

    def _changed(self, tally: Tally) -> None:
        counts = f"{_files(tally)}  {tally.megabytes_per_second(self._clock()):,.1f} MB/s"
        self._bars.update(self._task, completed=tally.compressed_bytes, counts=counts, stage=tally.stage)

    def _finished(self, tally: Tally) -> None:
        tally.stage = "done"
        self._changed(tally)
        self._bars.stop_task(self._task)

    def _closed(self) -> None:
        self._bars.stop()


def _files(tally: Tally) -> str:
    return f"{tally.files:,}/{tally.total_files:,} files"


def _duration(seconds: float) -> str:
    """Whole seconds as `H:MM:SS`, short ones as `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

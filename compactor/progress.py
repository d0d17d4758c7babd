"""The progress of a run: a bar on a terminal, log lines elsewhere, nothing for use as a library.

One dataset at a time: `start`, then any number of `advance` and `stage`, then `finish`, or `abandon` if the dataset
fails. Leaving the context ends the display. Not safe for several threads. Sizes are bytes, and 1 MB is 10**6 bytes.
The speed counts uncompressed bytes. The remaining time counts compressed bytes, because only their total is known when
the dataset starts.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console

Clock = Callable[[], float]

log = logging.getLogger(__name__)


@dataclass
class Work:
    """The work on one dataset: its total (`total_*`) and what is done. `began`: the clock at the start, in seconds."""

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
        """None while nothing is done, because then there is no estimate."""
        if not self.compressed_bytes:
            return None
        remaining = max(self.total_compressed - self.compressed_bytes, 0)
        return (now - self.began) * remaining / self.compressed_bytes


class Progress:
    """Counts the work. The subclasses display it. The context can end at any time."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._work: Work | None = None

    @staticmethod
    def for_terminal(*, json_logs: bool = False, clock: Clock = time.monotonic) -> Progress:
        """A bar if stderr is a terminal and logs are text, else log lines."""
        if sys.stderr.isatty() and not json_logs:
            return BarProgress(clock)
        return LogProgress(clock)

    def start(self, dataset: str, files: int, compressed_bytes: int) -> None:
        """Begins a dataset with `files` objects to load, `compressed_bytes` in total."""
        self._work = Work(dataset, files, compressed_bytes, began=self._clock())
        self._started(self._work)

    def advance(self, files: int = 0, lines: int = 0, compressed_bytes: int = 0, raw_bytes: int = 0) -> None:
        """Adds to the work that is done."""
        if work := self._work:
            work.files += files
            work.lines += lines
            work.compressed_bytes += compressed_bytes
            work.raw_bytes += raw_bytes
            self._changed(work)

    def stage(self, text: str) -> None:
        """Sets the current step, in one word: "merging", "committing"."""
        if (work := self._work) and work.stage != text:
            work.stage = text
            log.debug("%s: %s", work.dataset, text)
            self._changed(work)

    def finish(self) -> None:
        """Ends the dataset."""
        if work := self._work:
            self._work = None
            self._finished(work)

    def abandon(self) -> None:
        """Ends a dataset that has failed."""
        if work := self._work:
            self._work = None
            self._abandoned(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work = None
        self._closed()

    def _started(self, work: Work) -> None: ...
    def _changed(self, work: Work) -> None: ...
    def _finished(self, work: Work) -> None: ...
    def _abandoned(self, work: Work) -> None: ...
    def _closed(self) -> None: ...


class NullProgress(Progress):
    """Shows nothing: for use as a library, and in tests."""


class LogProgress(Progress):
    """Logs a line at most every `EVERY` seconds, and one at the end of each dataset."""

    EVERY = 30.0

    def _started(self, work: Work) -> None:
        self._logged_at = work.began

    def _changed(self, work: Work) -> None:
        now = self._clock()
        if now - self._logged_at >= self.EVERY:
            self._logged_at = now
            left = work.seconds_left(now)
            stage = f", {work.stage}" if work.stage else ""
            rest_time = f", about {_duration(left)} left" if left else ""
            self._log(work, now, f"{stage}{rest_time}")

    def _finished(self, work: Work) -> None:
        now = self._clock()
        self._log(work, now, f", done in {_duration(now - work.began)}")

    def _log(self, work: Work, now: float, rest: str) -> None:
        rate = work.megabytes_per_second(now)
        message = f"{_files(work)}, {work.lines:,} lines, {rate:,.1f} MB/s{rest}"
        counts = {"dataset": work.dataset, "files": work.files, "lines": work.lines, "raw_bytes": work.raw_bytes}
        log.info("%s: %s", work.dataset, message, extra=counts)


class BarProgress(Progress):
    """A bar on stderr, one line per dataset. Log lines appear above it, see `log.StderrHandler`."""

    def __init__(self, clock: Clock = time.monotonic, console: Console | None = None) -> None:
        # Slow to import, and not needed without a terminal.
        from rich import console as consoles
        from rich import progress as bars

        super().__init__(clock)
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=20),
            bars.TextColumn("{task.fields[counts]}"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[stage]}"),
            console=console or consoles.Console(stderr=True),
            get_time=clock,
            redirect_stdout=False,  # stdout is for results, byte for byte as printed
        )

    def _started(self, work: Work) -> None:
        self._bars.start()
        self._task = self._bars.add_task(work.dataset, total=work.total_compressed, counts=_files(work), stage="")

    def _changed(self, work: Work) -> None:
        counts = f"{_files(work)}  {work.megabytes_per_second(self._clock()):,.1f} MB/s"
        self._bars.update(self._task, completed=work.compressed_bytes, counts=counts, stage=work.stage)

    def _finished(self, work: Work) -> None:
        work.stage = "done"
        self._changed(work)
        self._bars.stop_task(self._task)

    def _abandoned(self, work: Work) -> None:
        work.stage = "failed"
        self._changed(work)
        self._bars.stop_task(self._task)

    def _closed(self) -> None:
        self._bars.stop()


def _files(work: Work) -> str:
    return f"{work.files:,}/{work.total_files:,} files"


def _duration(seconds: float) -> str:
    """`4.2 s` below a minute, else `H:MM:SS`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

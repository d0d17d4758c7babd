"""The lease: a small file that names the run under way, so that a second run waits for it, or leaves.

The lease is a courtesy that saves work. The commit protocol alone keeps concurrent runs correct. A lease that is lost,
stolen, or cannot be written fails no run. See docs/design/0003-lease.md.

The file lies beside the commit intents, under the ledger's location. A thread renews its `beat` while the run lasts.
Clocks of other machines are not trusted: a holder is alive as long as its file changes.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from compactor import diagnose
from compactor.config import IfRunning
from compactor.lake.catalog import Lakehouse
from compactor.lake.own_tables import FILES
from compactor.publish.intent import folder
from compactor.publish.run_log import Run

log = logging.getLogger(__name__)

_WORDS = ("run_id", "verb", "host", "pids", "started_at")
BEAT, DEAD_AFTER = 5.0, 60.0
"""Seconds between two renewals, and without one until the holder counts as dead."""


@dataclass(frozen=True)
class Holder:
    """The run that holds the lease. `pids` names the process-id space of `pid`: containers have their own."""

    run_id: str
    verb: str
    host: str
    pids: str
    pid: int
    started_at: str

    @classmethod
    def of(cls, run: Run) -> Holder:
        return cls(run.run_id, run.verb, *_here(), os.getpid(), f"{run.started_at:%Y-%m-%d %H:%M:%S} UTC")

    @classmethod
    def parse(cls, content: bytes) -> Holder:
        """The holder, by the file's content. UNKNOWN if it is no lease, or not written whole yet."""
        try:
            said = json.loads(content)
            run_id, verb, host, pids, started_at = (str(said[name]) for name in _WORDS)
            return cls(run_id, verb, host, pids, int(said["pid"]), started_at)
        except (ValueError, KeyError, TypeError):
            return UNKNOWN

    def content(self, beat: int) -> bytes:
        return json.dumps({**asdict(self), "beat": beat}).encode()

    def __str__(self) -> str:
        if self == UNKNOWN:
            return "an unknown run"
        return f"run {self.run_id} ({self.verb}, host {self.host}, process {self.pid}, since {self.started_at})"

    def is_gone(self) -> bool:
        """Whether its process ran on this machine and has ended. False if that is unknown."""
        if (self.host, self.pids) != _here() or not 0 < self.pid < 2**31:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is another user's, so it is there
        return False


UNKNOWN = Holder("", "", "", "", 0, "")


class _File:
    """The lease's file. A failure here is logged once, and fails no run."""

    def __init__(self, lake: Lakehouse) -> None:
        self._table = lake.seen(FILES) or lake.table(FILES)  # for its place alone
        self._path = f"{folder(self._table)}/lease.json"
        self._warned = False

    def read(self) -> bytes | None:
        """None if there is no lease, or if it cannot be read: in both cases the run does not wait."""
        with self._forgiving():
            try:
                with self._table.open(self._path) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None
        return None

    def write(self, content: bytes) -> None:
        with self._forgiving(), self._table.create(self._path) as stream:
            stream.write(content)

    def delete(self) -> None:
        with self._forgiving():
            self._table.delete(self._path)

    @contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, the run is correct without a lease
            if not self._warned:
                reason = diagnose.reason(error) or type(error).__name__
                log.warning("the lease cannot be used, other runs may start beside this one: %s", reason)
            self._warned = True


@contextmanager
def held(
    run: Run,
    if_running: IfRunning,
    *,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Holder | None]:
    """Holds the lease while the body runs. Yields the other run if this one is to leave, else None.

    `wait` waits for another run to end. `leave` leaves if the other run is alive. `ignore` continues beside it, without
    a lease.
    """
    file, me = _File(run.lake), Holder.of(run)
    other = _await(file, if_running, pause, clock)
    if other is None:
        with _kept(file, me):
            yield None
    else:
        leaves = if_running == "leave"
        log.info("%s is under way; %s", other, "leaving it to that run" if leaves else "continuing beside it")
        yield other if leaves else None


def _await(
    file: _File, if_running: IfRunning, pause: Callable[[float], object], clock: Callable[[], float]
) -> Holder | None:
    """Waits until no run holds the lease, or for a sign of life if that is enough. Returns the holder."""
    seen, since, announced = b"", clock(), ""
    while (content := file.read()) is not None:
        other = Holder.parse(content)
        if other.is_gone():
            log.warning("%s has ended without releasing its lease: its process is gone; taking over", other)
            return None
        lives = other != UNKNOWN and seen and content != seen
        if if_running == "ignore" or (if_running == "leave" and lives):
            return other
        if content != seen:
            seen, since = content, clock()
        elif clock() - since >= DEAD_AFTER:
            log.warning("%s has given no sign of life for %.0f seconds; taking over", other, DEAD_AFTER)
            return None
        if other.run_id not in (announced, UNKNOWN.run_id):
            announced = other.run_id
            log.info(
                "%s holds the lease; waiting for %s", other, "its end" if if_running == "wait" else "a sign of life"
            )
        pause(BEAT)
    return None


@contextmanager
def _kept(file: _File, me: Holder) -> Iterator[None]:
    """Writes the lease, renews it from a thread of its own, and deletes it at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=_renew, args=(file, me, stop), name="lease", daemon=True)
    try:
        file.write(me.content(0))
        thread.start()
        yield
    finally:
        stop.set()
        if thread.ident:
            thread.join(timeout=2 * BEAT)
        # A write that still hangs would bring the file back. Without a beat the lease ends by itself.
        if not thread.is_alive() and _holds(file, me):
            file.delete()


def _renew(file: _File, me: Holder, stop: threading.Event) -> None:
    for beat in itertools.count(1):
        if stop.wait(BEAT):
            return
        content = file.read()
        if content is not None and (other := Holder.parse(content)) not in (me, UNKNOWN):
            log.warning("%s has taken the lease of this run; both continue, side by side", other)
            return
        file.write(me.content(beat))


def _holds(file: _File, me: Holder) -> bool:
    content = file.read()
    return content is not None and Holder.parse(content) == me


def _here() -> tuple[str, str]:
    """This machine's name, and its space of process ids where the system has several."""
    try:
        return socket.gethostname(), str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return socket.gethostname(), ""

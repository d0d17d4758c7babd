"""The lease: a small file that says who is running, so that a run that comes meanwhile waits for it, or leaves.

It is a courtesy that saves work. That runs which meet lose and double nothing is the commit protocol's doing, and a
lease that is lost, stolen, or cannot be written fails nobody. See docs/design/0003-lease.md.

The file lies beside the notes, under the ledger's location. A thread renews its `beat` while the run lasts. No clock of
another machine is believed: a holder is alive as long as its file is seen to change.
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
from compactor.publish.run_log import Run

log = logging.getLogger(__name__)

_WORDS = ("run_id", "verb", "host", "pids", "started_at")
BEAT, DEAD_AFTER = 5.0, 60.0
"""Seconds between two renewals, and without one until the holder counts as dead."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lease. `pids` names the space in which `pid` means something: containers have their own."""

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
            return "a run that does not say who it is"
        return f"run {self.run_id} ({self.verb}, host {self.host}, process {self.pid}, since {self.started_at})"

    def is_gone(self) -> bool:
        """Whether its process was one of this machine and is no more. False if that cannot be told."""
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
    """The lease's file. What fails here is told once and fails nobody."""

    def __init__(self, lake: Lakehouse) -> None:
        self._table = lake.table(FILES)
        self._path = f"{self._table.location}/notes/lease.json"
        self._told = False

    def read(self) -> bytes | None:
        """None if there is no lease, or if it cannot be read: in both cases nobody is waited for."""
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
        except Exception as error:  # noqa: BLE001  whatever it is, the run is right without a lease
            if not self._told:
                reason = diagnose.reason(error) or type(error).__name__
                log.warning("the lease cannot be used, other runs may start beside this one: %s", reason)
            self._told = True


@contextmanager
def held(
    run: Run,
    if_running: IfRunning,
    *,
    pause: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Holder | None]:
    """Holds the lease while the body runs. Gives the other run if this one is to leave to it, else None.

    `wait` waits for another run to end. `leave` leaves it the lake if it is alive.
    `ignore` goes on beside it, without a lease.
    """
    file, me = _File(run.lake), Holder.of(run)
    other = _await(file, if_running, pause, clock)
    if other is None:
        with _kept(file, me):
            yield None
    else:
        leaves = if_running == "leave"
        log.info("%s is under way; %s", other, "leaving it to that run" if leaves else "going on beside it")
        yield other if leaves else None


def _await(
    file: _File, if_running: IfRunning, pause: Callable[[float], object], clock: Callable[[], float]
) -> Holder | None:
    """Waits until nobody holds the lease, or for a sign of life if that is enough. Returns who holds it."""
    seen, since, told = b"", clock(), ""
    while (content := file.read()) is not None:
        other = Holder.parse(content)
        if other.is_gone():
            log.warning("%s has ended without giving back its lease: its process is gone; taking over", other)
            return None
        lives = other != UNKNOWN and seen and content != seen
        if if_running == "ignore" or (if_running == "leave" and lives):
            return other
        if content != seen:
            seen, since = content, clock()
        elif clock() - since >= DEAD_AFTER:
            log.warning("%s has given no sign of life for %.0f seconds; taking over", other, DEAD_AFTER)
            return None
        if other.run_id not in (told, UNKNOWN.run_id):
            told = other.run_id
            log.info(
                "%s holds the lease; waiting for %s", other, "its end" if if_running == "wait" else "a sign of life"
            )
        pause(BEAT)
    return None


@contextmanager
def _kept(file: _File, me: Holder) -> Iterator[None]:
    """Writes the lease, renews it from a thread of its own, and takes it away in the end."""
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
            log.warning("%s has taken the lease of this run; both go on, side by side", other)
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

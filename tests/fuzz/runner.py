"""Fuzzes decoding, unpacking, the registry and the keys of objects: no crash, no hang, no line unaccounted for.

What is tried and what must hold is in `targets`. Inputs are made from the seed, so a run can be repeated.
Worker processes do the batches. One that dies or is silent for too long is a finding too. Each finding is made as
small as it gets, and written to a file with the command that replays it. Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

from tests.fuzz.batch import Batch, Fault
from tests.fuzz.targets import TARGETS, batch, check

SECONDS = 60.0
"""After so long a silence a batch hangs; it takes about one second."""
_SECONDS_SMALLER = 15.0
_SECONDS_OF_REDUCING = 60.0
_SPAWN = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang by itself
Check = Callable[[Batch], list[Fault]]
Items = TypeVar("Items", bytes, tuple[bytes, ...])


@dataclass
class Tally:
    """What was done: inputs and seconds of each target, and how often each kind of fault was met."""

    inputs: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    heard: float
    doing: tuple[str, int] = ("", 0)


def run(names: Sequence[str], seed: int, seconds: float, jobs: int, found: Callable[[Batch, Fault], None]) -> Tally:
    """Runs batches for so long. `found` is called for each new kind of fault, with its batch."""
    tally = Tally()
    stop_at = time.monotonic() + seconds
    starts = {job: dict.fromkeys(names, job) for job in range(jobs)}
    workers = {job: _started(names, seed, jobs, starts[job], stop_at) for job in range(jobs)}
    try:
        while workers:
            ready = wait([worker.connection for worker in workers.values()], timeout=1.0)
            for job, worker in list(workers.items()):
                if worker.connection in ready:
                    kind = _heard(worker, seed, tally, starts[job], jobs, found)
                    worker.heard = time.monotonic()  # after it: to make a finding small takes its time
                elif time.monotonic() - worker.heard > SECONDS and not worker.connection.poll():
                    kind = f"{worker.doing[0]}: a batch hangs"
                else:
                    continue
                if kind is None:
                    continue
                worker.process.kill()
                worker.process.join()
                del workers[job]
                if kind:
                    name, number = worker.doing
                    _count(tally, batch(name, seed, number), Fault(kind, ""), found)
                    starts[job][name] = number + jobs
                    workers[job] = _started(names, seed, jobs, starts[job], stop_at)
    finally:
        for worker in workers.values():
            worker.process.kill()
    return tally


def _heard(
    worker: _Worker, seed: int, tally: Tally, starts: dict[str, int], jobs: int, found: Callable[[Batch, Fault], None]
) -> str | None:
    """Takes one message in. Returns None to continue, else why the worker has ended: "" if as it should be."""
    try:
        message = worker.connection.recv()
    except EOFError:
        worker.process.join(10)
        return f"{worker.doing[0]}: the process ends with {worker.process.exitcode}"
    if message is None:
        return ""
    if len(message) == 2:
        worker.doing = message
        return None
    name, number, inputs, took, faults = message
    starts[name] = number + jobs
    tally.inputs[name] = tally.inputs.get(name, 0) + inputs
    tally.seconds[name] = tally.seconds.get(name, 0.0) + took
    for fault in faults:
        _count(tally, batch(name, seed, number), fault, found)
    return None


def _count(tally: Tally, where: Batch, fault: Fault, found: Callable[[Batch, Fault], None]) -> None:
    tally.kinds[fault.kind] = tally.kinds.get(fault.kind, 0) + 1
    if tally.kinds[fault.kind] == 1:
        found(where, fault)


def _started(names: Sequence[str], seed: int, jobs: int, starts: dict[str, int], stop_at: float) -> _Worker:
    ours, theirs = _SPAWN.Pipe(duplex=False)
    left = stop_at - time.monotonic()
    process = _SPAWN.Process(target=_work, args=(theirs, list(names), seed, jobs, dict(starts), left), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, time.monotonic())


def _work(connection: Connection, names: list[str], seed: int, jobs: int, starts: dict[str, int], left: float) -> None:
    """Does every `jobs`-th batch of each target, of the one that is furthest behind its share of the time."""
    faulthandler.enable()
    stop_at = time.monotonic() + left
    spent = dict.fromkeys(names, 0.0)
    while time.monotonic() < stop_at:
        name = min(names, key=lambda each: spent[each] / TARGETS[each].share)
        number, begun = starts[name], time.monotonic()
        starts[name] += jobs
        connection.send((name, number))
        made = batch(name, seed, number)
        faulthandler.dump_traceback_later(0.9 * SECONDS)  # where it hangs, before it is killed
        faults = check(made)
        faulthandler.cancel_dump_traceback_later()
        took = time.monotonic() - begun
        spent[name] += took
        connection.send((name, number, len(made.inputs), took, faults))
    connection.send(None)


def in_time(batch: Batch, seconds: float, how: Check = check) -> list[Fault]:
    """The faults of a batch, from a process of its own, which may hang or die."""
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_answer, args=(theirs, how, batch), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()  # that it has started
        if not ours.poll(seconds):
            return [Fault(f"{batch.target}: a batch hangs", f"for {seconds} seconds")]
        return list(ours.recv())
    except EOFError:
        process.join(10)
        return [Fault(f"{batch.target}: the process ends with {process.exitcode}", "")]
    finally:
        process.kill()
        process.join()


def _answer(connection: Connection, how: Check, batch: Batch) -> None:
    connection.send("started")
    connection.send(how(batch))


def smallest(batch: Batch, fault: Fault, how: Check = check, seconds: float = _SECONDS_OF_REDUCING) -> Batch:
    """The batch with as few inputs, and these with as few bytes, as still show a fault of this kind."""
    until = time.monotonic() + seconds
    risky = "hangs" in fault.kind or "process ends" in fault.kind

    def shows(smaller: Batch) -> bool:
        if time.monotonic() > until:
            return False
        faults = in_time(smaller, _SECONDS_SMALLER, how) if risky else how(smaller)
        return any(each.kind == fault.kind for each in faults)

    if fault.input is not None and shows(alone := batch.only([batch.inputs[fault.input]])):
        batch = alone
    batch = batch.only(fewer(batch.inputs, lambda inputs: shows(batch.only(inputs))))
    for number in range(len(batch.inputs)):
        batch = _shorter(batch, number, shows)
    return batch


def _shorter(batch: Batch, number: int, shows: Callable[[Batch], bool]) -> Batch:
    """The batch with one of its inputs made as short as still shows it."""

    def changed(data: bytes) -> Batch:
        return batch.only([*batch.inputs[:number], data, *batch.inputs[number + 1 :]])

    return changed(fewer(batch.inputs[number], lambda data: shows(changed(data))))


def fewer(items: Items, shows: Callable[[Items], bool]) -> Items:
    """Leaves out runs of items, long ones first, as long as what is left still shows it."""
    size = len(items) // 2
    while size:
        place = 0
        while place < len(items):
            less = items[:place] + items[place + size :]
            if less and shows(less):
                items = less
            else:
                place += size
        size //= 2
    return items


def write(out: Path, batch: Batch, fault: Fault) -> Path:
    """Writes a finding. Its name is a function of what it is."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{batch.target}-{hashlib.sha256(fault.kind.encode()).hexdigest()[:8]}.json"
    path.write_text(batch.to_json(), encoding="ascii")
    return path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other inputs (default %(default)s)")
    parser.add_argument("--only", choices=TARGETS, action="append", help="only this target; may be given again")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for findings (default: a new temporary one)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="only check the batch of a finding again")
    arguments = parser.parse_args(argv)
    if arguments.replay:
        faults = in_time(Batch.from_json(arguments.replay.read_text(encoding="ascii")), SECONDS)
        for fault in faults:
            print(f"{fault.kind}\n{fault.detail}")
        print(f"{len(faults)} faults")
        return 1 if faults else 0
    out = arguments.out or Path(tempfile.mkdtemp(prefix="fuzz-"))

    def found(where: Batch, fault: Fault) -> None:
        path = write(out, smallest(where, fault), fault)
        print(
            f"FOUND {fault.kind}\n{fault.detail}\n  replay: {sys.executable} -m tests.fuzz --replay {path}", flush=True
        )

    begun = time.monotonic()
    tally = run(arguments.only or list(TARGETS), arguments.seed, arguments.minutes * 60, arguments.jobs, found)
    for name, inputs in tally.inputs.items():
        print(f"{name:<10}{inputs:>12,} inputs{inputs / tally.seconds[name]:>10,.0f} a second")
    for kind, count in tally.kinds.items():
        print(f"{count:>6,} x {kind}")
    minutes, total = (time.monotonic() - begun) / 60, sum(tally.inputs.values())
    print(f"{minutes:.1f} minutes, {total:,} inputs, {len(tally.kinds)} findings")
    return 1 if tally.kinds else 0

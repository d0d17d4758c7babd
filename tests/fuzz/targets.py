"""What is fuzzed: batches of inputs, and what must hold of each.

A batch is a function of (target, seed, number) alone, and a check is a function of the batch, so that both can be done
again in another process, on another machine, or on a smaller batch.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz import check_files, check_keys, check_lines, check_native, check_registry, check_scanner
from tests.fuzz.batch import Batch, Fault


def batch(target: str, seed: int, number: int) -> Batch:
    return TARGETS[target].make(Random(f"{seed}/{target}/{number}"))  # a text seeds alike on every platform


def check(batch: Batch) -> list[Fault]:
    """The faults of a batch. An exception is one, of the whole batch: a smaller one says of which input."""
    try:
        return list(TARGETS[batch.target].faults(batch))
    except Exception as error:  # noqa: BLE001  any exception is a finding
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if f"{Path('compactor')}/" in frame.filename
        ]
        place = f"{Path(frames[-1].filename).stem}.{frames[-1].name}" if frames else "the check itself"
        return [Fault(f"{type(error).__name__} in {place}", "".join(traceback.format_exception(error)))]


@dataclass(frozen=True)
class Target:
    """How a target's batches are made and checked, and its share of the time."""

    make: Callable[[Random], Batch]
    faults: Callable[[Batch], Iterator[Fault]]
    share: float


TARGETS = {
    "lines": Target(check_lines.make, check_lines.faults, 0.25),
    "scanner": Target(check_scanner.make, check_scanner.faults, 0.2),
    "native": Target(check_native.make, check_native.faults, 0.2),
    "files": Target(check_files.make, check_files.faults, 0.1),
    "registry": Target(check_registry.make, check_registry.faults, 0.2),
    "keys": Target(check_keys.make, check_keys.faults, 0.05),
}

"""Any line is unsure to the native scanner, or the row of the exact path, in any company."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from random import Random

from compactor.decode.scanner import Scanner
from compactor.registry import loader
from compactor.registry.dataset import Dataset
from tests.fuzz import lines as odd
from tests.fuzz.batch import Batch, Fault
from tests.support import scanning
from tests.support.lake import SCHEMAS

REGISTRY = loader.load(SCHEMAS).datasets
THINGS = {"things 1": 1, "things 2": 2}


def make(chance: Random) -> Batch:
    name = chance.choice([*REGISTRY, *THINGS, *THINGS])
    lines = odd.lines(chance, dataset_of(name))
    if chance.random() < 0.5:  # the scanner compares a line with the one before: lines that are almost the same
        copies = [line for line in lines[:100] for _ in range(chance.choice([2, 3, 10]))]
        lines = [odd.broken(chance, line, lines) if chance.random() < 0.5 else line for line in copies]
        lines = [line.replace(b"\n", b"") for line in lines]
    return Batch("scanner", tuple(lines), {"dataset": name, "limit": chance.choice([1 << 20, 1 << 20, 150])})


def faults(batch: Batch) -> Iterator[Fault]:
    name, limit = batch.settings["dataset"], batch.settings["limit"]
    found = _scanner(name, limit).scan(scanning.block(batch.inputs))
    for number, wrong in scanning.faults(dataset_of(name), batch.inputs, found, limit):
        yield Fault(f"scanner: {wrong.partition(' as ')[0]}", wrong, number)


def dataset_of(name: str) -> Dataset:
    return REGISTRY[name] if name in REGISTRY else scanning.things(THINGS[name])


@cache
def _scanner(name: str, limit: int) -> Scanner:
    return scanning.scanner(dataset_of(name), limit)

"""All that a build of the scanner has to show: `python -m tests.support.scanner_checks LIBRARY`.

A process of its own, because a build with a bug in it may end it.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from unittest import mock

import pyarrow as pa

import compactor.native
from compactor.decode import scanner as native
from compactor.registry import loader
from tests.fuzz import lines as odd
from tests.support.bad_lines import LINES, good_lines, record
from tests.support.lake import SCHEMAS
from tests.support.scanning import accepted, block, faults, scanner, things

REGISTRY = loader.load(SCHEMAS)
_CANARY = b"\xa5" * 64
_PROT_NONE, _PROT_READ_WRITE = 0, 3
_libc = ctypes.CDLL(None, use_errno=True)


def main(library: Path) -> None:
    compactor.native.LIBRARY = library
    assert native.available()
    odd_lines_become_the_rows_of_the_exact_path()
    plain_lines_are_all_accepted()
    maps_of_like_keys_have_each_key_once()
    nothing_behind_the_input_is_read()
    nothing_around_the_result_is_written()


def odd_lines_become_the_rows_of_the_exact_path() -> None:
    for seed, dataset in enumerate([*map(things, (1, 2)), *REGISTRY.datasets.values()]):
        chance = Random(f"scanner/{seed}")
        scan = scanner(dataset).scan
        for _ in range(2):
            lines = odd.lines(chance, dataset)[:1000] + [bad.line for bad in LINES.values() if len(bad.line) < 5000]
            chance.shuffle(lines)
            assert list(faults(dataset, lines, scan(block(lines)))) == []


def plain_lines_are_all_accepted() -> None:
    for name, dataset in REGISTRY.datasets.items():
        lines = good_lines("scanner", 500, name)
        found = scanner(dataset).scan(block(lines))
        assert len(found.unsure) == 0
        assert list(faults(dataset, lines, found)) == []


def maps_of_like_keys_have_each_key_once() -> None:
    """Keys are compared with those of the line before: what is the same, and what is not, comes in each order."""
    dataset, chance = REGISTRY.get("fan_profiles"), Random("keys")
    pairs = [[f'"{key}":1' for key in chance.choices(["a", "b", "c", "\\u0061", "d" * 50], k=4)] for _ in range(1000)]
    lines = [record(traits="{" + ",".join(each[: chance.randrange(5)]) + "}") for each in pairs]
    assert list(faults(dataset, lines, scanner(dataset).scan(block(lines)))) == []


def nothing_behind_the_input_is_read() -> None:
    """Each input ends where a page ends that no page follows which can be read."""
    dataset = things(1)
    lines = [line for line in odd.lines(Random("behind"), dataset) if len(line) < 2000][:300]
    lines += [line[:size] for line in lines[:100] for size in range(0, len(line), 7)]
    one = scanner(dataset)
    for line in lines:
        for data in (line + b"\n", line + b"\n" + b"{}\n", block(lines[:2]) + line + b"\n"):
            with _at_the_end_of_memory(data) as buffer:
                assert accepted(one.scan(buffer)) == accepted(one.scan(data))


def nothing_around_the_result_is_written() -> None:
    dataset = things(2)
    lines = odd.lines(Random("around"), dataset)[:300]
    whole: list[tuple[pa.Buffer, int]] = []

    def guarded(size: int) -> pa.Buffer:
        memory = pa.py_buffer(bytearray(_CANARY + bytes(size) + _CANARY))
        whole.append((memory, size))
        return memory.slice(len(_CANARY), size)

    with mock.patch.object(pa, "allocate_buffer", guarded):
        one = scanner(dataset)
        for count in (0, 1, 7, 8, 9, len(lines)):
            found = one.scan(block(lines[:count]))
            memory, size = whole.pop()
            data = memory.to_pybytes()
            assert data[: len(_CANARY)] == data[len(_CANARY) + size :] == _CANARY
            assert list(faults(dataset, lines[:count], found)) == []


@contextmanager
def _at_the_end_of_memory(data: bytes) -> Iterator[pa.Buffer]:
    size = -(-len(data) // mmap.PAGESIZE) * mmap.PAGESIZE
    area = mmap.mmap(-1, size + mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    behind = ctypes.c_void_p(start + size)
    assert _libc.mprotect(behind, mmap.PAGESIZE, _PROT_NONE) == 0
    area[size - len(data) : size] = data
    try:
        yield pa.foreign_buffer(start + size - len(data), len(data), area)
    finally:
        assert _libc.mprotect(behind, mmap.PAGESIZE, _PROT_READ_WRITE) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))

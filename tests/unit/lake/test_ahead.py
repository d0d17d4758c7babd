"""Several streams that are read at a time."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pyarrow as pa
import pytest

from compactor.lake import ahead
from compactor.lake.ahead import in_order

SMALL, LARGE = 1 << 10, 1 << 30


def batch(value: int) -> pa.RecordBatch:
    return pa.record_batch({"n": [value]})


class Files:
    """Streams of batches, and which of them were opened, and are open now."""

    def __init__(self, *counts: int, size: int = SMALL) -> None:
        self.counts = counts
        self.size = size
        self.opened: list[int] = []
        self.open_now: set[int] = set()
        self.made = 0

    def read(self, number: int) -> Iterator[pa.RecordBatch]:
        self.opened.append(number)
        self.open_now.add(number)
        try:
            for place in range(self.counts[number]):
                self.made += 1
                yield batch(1000 * number + place)
        finally:
            self.open_now.discard(number)

    @property
    def streams(self) -> list[tuple[int, ahead.Open]]:
        return [(self.size, partial(self.read, number)) for number in range(len(self.counts))]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("files", [0, 1, 2, 100])
def test_batches_come_in_the_order_of_the_files_and_within_each(files: int, size: int) -> None:
    rng = random.Random(files)
    counts = [rng.choice((0, 0, 1, 7)) for _ in range(files)]
    found = [(number, each.column(0)[0].as_py()) for number, each in in_order(Files(*counts, size=size).streams)]
    assert found == [(number, 1000 * number + place) for number in range(files) for place in range(counts[number])]


def test_small_files_are_opened_before_their_turn_and_large_ones_are_not() -> None:
    together = threading.Barrier(ahead.WIDTH, timeout=30)

    def read() -> Iterator[pa.RecordBatch]:
        together.wait()  # until all of them are open
        yield batch(1)

    assert len(list(in_order([(SMALL, read)] * ahead.WIDTH))) == ahead.WIDTH
    large = Files(1, 1, 1, size=LARGE)
    with closing(in_order(large.streams)) as found:
        next(found)
        assert large.opened == [0]


def test_what_is_read_ahead_of_the_consumer_is_bounded() -> None:
    files = Files(*[100] * 50)
    with closing(in_order(files.streams)) as found:
        next(found)
        assert files.made <= ahead.WIDTH * 4
    assert files.open_now == set()


def test_what_a_file_raises_comes_at_its_place() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch(5)
        raise LookupError("of the file")

    files = Files(2, 2, 2)
    streams = [*files.streams[:1], (SMALL, broken), *files.streams[1:]]
    taken: list[int] = []
    with pytest.raises(LookupError, match="of the file"):
        taken.extend(number for number, _ in in_order(streams))
    assert taken == [0, 0, 1]
    assert files.open_now == set()


def test_closing_early_ends_all_files() -> None:
    files = Files(*[20] * 40)
    found = in_order(files.streams)
    for _ in range(25):
        next(found)
    found.close()
    assert files.open_now == set()
    assert len(files.opened) < 40

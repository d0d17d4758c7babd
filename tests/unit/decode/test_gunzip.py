"""Compressed objects become whole lines at their numbers, in bounded memory, and no thread outlives the reading."""

from __future__ import annotations

import gzip
import io
import random
import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import BinaryIO

import pytest

from compactor.decode import gunzip
from compactor.decode.gunzip import Done, Event, read_blocks, whole_lines
from compactor.decode.lines import Block
from compactor.errors import DamagedObject, ObjectError, SourceError
from tests.support.unpacking import ROOMY, lines_of, numbered, within

LIMIT = 20
TEXT = b"".join(b"line %d %s\n" % (number, b"x" * (number % 17)) for number in range(1, 60))


# Lines


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 64, 1000, 1 << 22])
def test_lines_keep_their_bytes_and_numbers_however_they_are_cut_into_blocks(
    monkeypatch: pytest.MonkeyPatch, seed: int, block_bytes: int
) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", block_bytes)
    chance = random.Random(seed)
    content = b"\n".join(chance.randbytes(chance.choice([0, 0, 1, 5, 70, 300])) for _ in range(chance.randint(0, 20)))
    members, start = [], 0
    while start < len(content):
        end = start + chance.randint(1, 200)
        members.append(gzip.compress(content[start:end]))
        start = end
    assert lines_of(b"".join(members) or gzip.compress(b"")) == numbered(content)


@pytest.mark.parametrize("length", [LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, 2 * LIMIT, 5 * LIMIT, 9 * LIMIT])
@pytest.mark.parametrize("block_bytes", [1, LIMIT - 1, LIMIT, LIMIT + 1, 2 * LIMIT, 3 * LIMIT + 1, 1 << 22])
@pytest.mark.parametrize("after", [b"\nnext\nlast\n", b"\nnext\nlast", b"\n", b""])
def test_only_a_line_over_the_limit_is_cut_and_it_still_shows(
    monkeypatch: pytest.MonkeyPatch, length: int, block_bytes: int, after: bytes
) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", block_bytes)
    line = bytes(65 + number % 26 for number in range(length))
    for start in range(2, 3 * LIMIT):
        before = b"".join(b"%d\n" % (number % 10) for number in range(start // 2)) + b"\n" * (start % 2)
        expected = numbered(before + line + after)
        found = lines_of(gzip.compress(before + line + after, 1), line_limit=LIMIT)
        number = before.count(b"\n") + 1
        if length > LIMIT:
            assert len(found[number]) > LIMIT
            assert expected[number].startswith(found[number])
            found[number] = expected[number]
        assert found == expected


def test_a_line_of_any_length_takes_no_more_memory_than_a_block_and_the_limit() -> None:
    packed = gzip.compress(b"x" * (1 << 20), 1) * 64  # 64 MiB without a newline
    with within(4 * gunzip.BLOCK_BYTES):
        found = lines_of(packed, line_limit=1 << 16)
    assert len(found[1]) == (1 << 16) + 1


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"\n\n", [b"", b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\n", [b"a", b""]),
        (b"a\r\nb\r\n", [b"a\r", b"b\r"]),
        (b"a\rb", [b"a\rb"]),
        ("a\u2028b\x85c\x0bd\x0ce\n".encode(), ["a\u2028b\x85c\x0bd\x0ce".encode()]),
        (b"a\0b\n\0", [b"a\0b", b"\0"]),
    ],
)
def test_a_line_ends_at_a_newline_and_nowhere_else(content: bytes, lines: list[bytes]) -> None:
    assert list(lines_of(gzip.compress(content)).values()) == lines


# Damage


def outcome(packed: bytes) -> bytes | str:
    """The content, or that the object is damaged. Any other exception is a failure of the test."""
    try:
        return b"".join(
            data for _, _, data in whole_lines(io.BytesIO(packed), "a-key", line_limit=ROOMY, file_limit=ROOMY)
        )
    except DamagedObject:
        return "damaged"


@pytest.mark.parametrize("block_bytes", [16, 1 << 22])
def test_an_object_cut_off_anywhere_is_damaged(monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", block_bytes)
    packed = gzip.compress(TEXT)
    assert outcome(packed) == TEXT
    assert [end for end in range(1, len(packed)) if outcome(packed[:end]) != "damaged"] == []


def test_a_second_member_cut_off_anywhere_is_damage() -> None:
    packed = gzip.compress(TEXT)
    assert outcome(packed + packed) == TEXT + TEXT
    assert [end for end in range(1, len(packed)) if outcome(packed + packed[:end]) != "damaged"] == []


def test_a_flipped_bit_is_found_or_has_no_effect() -> None:
    packed = gzip.compress(TEXT, mtime=0)
    harmless = set()
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        found = outcome(bytes(changed))
        if found != "damaged":
            assert found == TEXT
            harmless.add(bit // 8)
    assert len(harmless) < 20  # time, system and flags in the header, and what pads the last byte of the stream


@pytest.mark.parametrize("behind", [b"\n", b"x", b"garbage" * 100, b"\x1f", b"\x1f\x8b", b"\0\0x", b'{"id":"a"}\n'])
def test_bytes_behind_the_stream_are_damage(behind: bytes) -> None:
    assert outcome(gzip.compress(TEXT) + behind) == "damaged"


def test_zeros_behind_the_stream_are_padding() -> None:
    assert outcome(gzip.compress(TEXT) + bytes(512)) == TEXT


@pytest.mark.parametrize("data", [b"x", b"\x1f", b"\x1f\x8b", TEXT, b"PK\x03\x04", bytes(100), b"\x28\xb5\x2f\xfd" * 9])
def test_what_is_no_gzip_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedObject, match=r"^a-key: is .+; it stays pending until it is delivered again$") as caught:
        list(whole_lines(io.BytesIO(data), "a-key", line_limit=ROOMY, file_limit=ROOMY))
    assert caught.value.key == "a-key"


# Bombs


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 22])
def test_an_object_may_unpack_to_exactly_its_limit(monkeypatch: pytest.MonkeyPatch, block_bytes: int) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", block_bytes)
    packed = gzip.compress(TEXT)
    assert lines_of(packed, file_limit=len(TEXT)) == numbered(TEXT)
    with pytest.raises(DamagedObject, match=r"unpacks to more than \d+ bytes; raise limits\.file_bytes"):
        lines_of(packed, file_limit=len(TEXT) - 1)


@pytest.mark.parametrize("content", [bytes(1 << 20), b"\n" * (1 << 20), b"a line\n" * 150_000])
def test_a_bomb_is_dropped_before_it_takes_memory(content: bytes) -> None:
    packed = io.BytesIO(gzip.compress(content) * 2_000)  # 2 GB
    with within(6 * gunzip.BLOCK_BYTES), pytest.raises(DamagedObject, match=r"limits\.file_bytes"):
        for _ in whole_lines(packed, "key", line_limit=1 << 16, file_limit=8 << 20):
            pass


# Readers


class Objects:
    """Objects to read, by their number. A value that is no bytes is an exception that opening raises."""

    def __init__(self, *objects: bytes | BaseException) -> None:
        self.objects = objects
        self.opened: list[int] = []
        self.open_now: set[int] = set()

    @property
    def keys(self) -> list[str]:
        return [f"key-{number}" for number in range(len(self.objects))]

    def open(self, file_no: int) -> BinaryIO:
        found = self.objects[file_no]
        self.opened.append(file_no)
        if isinstance(found, BaseException):
            raise found
        return Tracked(found, file_no, self.open_now)

    def read(self, readers: int = 3, line_limit: int = ROOMY) -> Generator[Event, None, None]:
        """Events, with a check that all streams are closed and all threads have ended when it is over."""
        before = set(threading.enumerate())
        events = read_blocks(self.keys, self.open, line_limit=line_limit, file_limit=ROOMY, readers=readers)
        try:
            with closing(events):
                yield from events
        finally:
            assert set(threading.enumerate()) <= before
            assert self.open_now == set()


class Tracked(io.BytesIO):
    """A stream that says whether it is open."""

    def __init__(self, data: bytes, file_no: int, open_now: set[int]) -> None:
        super().__init__(data)
        self._file_no, self._open_now = file_no, open_now
        open_now.add(file_no)

    def close(self) -> None:
        self._open_now.discard(self._file_no)
        super().close()


def content(file_no: int, lines: int = 50) -> bytes:
    return b"".join(b"object %d line %d\n" % (file_no, line) for line in range(1, lines + 1))


def gathered(events: Iterator[Event]) -> tuple[dict[int, bytes], dict[int, Done]]:
    """The content of each object, with a check of the numbers of lines, and how each ended."""
    contents: dict[int, bytes] = {}
    done: dict[int, Done] = {}
    for event in events:
        assert event.file_no not in done, "something came after an object's end"
        if isinstance(event, Block):
            assert event.first_line == contents.get(event.file_no, b"").count(b"\n") + 1
            contents[event.file_no] = contents.get(event.file_no, b"") + event.data
        else:
            done[event.file_no] = event
    return contents, done


@pytest.mark.parametrize("readers", [1, 2, 8, 50])
@pytest.mark.parametrize("block_bytes", [10, 100, 1 << 22])
def test_each_object_comes_in_order_and_ends_once(
    monkeypatch: pytest.MonkeyPatch, readers: int, block_bytes: int
) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", block_bytes)
    objects = Objects(*(gzip.compress(content(number, number * 3)) for number in range(20)))
    contents, done = gathered(objects.read(readers))
    assert contents == {number: content(number, number * 3) for number in range(1, 20)}
    assert done == {number: Done(number, len(content(number, number * 3))) for number in range(20)}
    assert sorted(objects.opened) == list(range(20))


def test_no_objects_are_no_events() -> None:
    assert list(Objects().read()) == []


@pytest.mark.parametrize("readers", [1, 4])
def test_an_object_that_cannot_be_read_says_so_at_its_end_and_costs_no_other(readers: int) -> None:
    objects = Objects(
        gzip.compress(content(0)),
        ObjectError("key-1", "cannot read key-1: gone"),
        gzip.compress(content(2))[:-9],
        b"no gzip",
        gzip.compress(content(4)),
    )
    contents, done = gathered(objects.read(readers))
    assert {number for number, event in done.items() if event.error} == {1, 2, 3}
    assert done[1].error is objects.objects[1]
    assert isinstance(done[2].error, DamagedObject)
    assert isinstance(done[3].error, DamagedObject)
    assert [contents[number] for number in (0, 4)] == [content(0), content(4)]


@pytest.mark.parametrize(
    "error",
    [RuntimeError("a defect"), SourceError("the bucket is gone"), MemoryError(), KeyboardInterrupt(), SystemExit()],
)
@pytest.mark.parametrize("readers", [1, 4])
def test_any_other_exception_of_a_reader_reaches_the_consumer_and_ends_all_threads(
    error: BaseException, readers: int
) -> None:
    objects = Objects(*(gzip.compress(content(number)) for number in range(5)), error, *[gzip.compress(b"x\n")] * 500)
    with pytest.raises(type(error)) as caught:
        list(objects.read(readers))
    assert caught.value is error


def test_an_exception_half_way_through_an_object_reaches_the_consumer() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 100:
                raise ZeroDivisionError
            return super().read(min(size or 60, 60))

        def readinto(self, buffer: object, /) -> int:
            raise ZeroDivisionError

    packed = gzip.compress(random.Random(1).randbytes(5_000))
    with pytest.raises(ZeroDivisionError):
        list(read_blocks(["key"], lambda _: Broken(packed), line_limit=ROOMY, file_limit=ROOMY, readers=2))
    assert not [thread for thread in threading.enumerate() if "work" in thread.name]


@pytest.mark.parametrize("taken", [1, 2, 5, 30])
@pytest.mark.parametrize("readers", [1, 4])
def test_closing_early_ends_all_threads_and_leaves_the_rest_unread(
    monkeypatch: pytest.MonkeyPatch, taken: int, readers: int
) -> None:
    monkeypatch.setattr(gunzip, "BLOCK_BYTES", 100)
    objects = Objects(*(gzip.compress(content(number)) for number in range(300)))
    events = objects.read(readers)
    for _ in range(taken):
        next(events)
    events.close()
    assert len(objects.opened) < 300
    assert objects.open_now == set()


def test_a_consumer_that_fails_ends_all_threads() -> None:
    objects = Objects(*(gzip.compress(content(number)) for number in range(300)))

    def consume() -> None:
        for event in objects.read():
            raise LookupError(event.file_no)

    with pytest.raises(LookupError):
        consume()
    assert len(objects.opened) < 300


def test_readers_wait_for_a_slow_consumer() -> None:
    readers, most = 3, 3 + gunzip.QUEUED_BLOCKS + 3
    too_far = threading.Event()
    objects = Objects(*[gzip.compress(b"x\n")] * 100)

    def open_object(file_no: int) -> BinaryIO:
        if file_no > most:
            too_far.set()
        return objects.open(file_no)

    with closing(read_blocks(objects.keys, open_object, line_limit=9, file_limit=9, readers=readers)) as events:
        next(events)
        assert not too_far.wait(0.3)
    assert len(objects.opened) <= most


def test_a_generator_that_is_never_started_starts_no_thread() -> None:
    before = threading.active_count()
    objects = Objects(gzip.compress(b"x\n"))
    read_blocks(objects.keys, objects.open, line_limit=9, file_limit=9, readers=3).close()
    assert threading.active_count() == before
    assert objects.opened == []


def test_small_objects_from_afar_get_more_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunzip, "FAR_SECONDS", -1)
    together = threading.Barrier(gunzip.FEWEST_READERS + 1, timeout=30)
    objects = Objects(*[gzip.compress(b"x\n")] * (200 + together.parties))

    def open_object(file_no: int) -> BinaryIO:
        if file_no >= 200:
            together.wait()
        return objects.open(file_no)

    events = read_blocks(objects.keys, open_object, line_limit=ROOMY, file_limit=ROOMY, readers=None)
    assert len([event for event in events if isinstance(event, Done)]) == len(objects.objects)


@pytest.mark.parametrize(("readers", "far", "small"), [(None, 60, 1 << 20), (None, -1, 0), (3, -1, 1 << 20)])
def test_others_do_not(monkeypatch: pytest.MonkeyPatch, readers: int | None, far: float, small: int) -> None:
    monkeypatch.setattr(gunzip, "FAR_SECONDS", far)
    monkeypatch.setattr(gunzip, "SMALL_BYTES", small)
    objects = Objects(*[gzip.compress(b"x\n")] * 200)
    threads = set()

    def open_object(file_no: int) -> BinaryIO:
        threads.add(threading.current_thread())
        return objects.open(file_no)

    list(read_blocks(objects.keys, open_object, line_limit=ROOMY, file_limit=ROOMY, readers=readers))
    assert len(threads) <= (readers or gunzip.FEWEST_READERS)

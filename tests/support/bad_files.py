"""A corpus of bad files, each kind under a name: `FILES` are objects that can never be read whole.

All of it is built from seeds, so a name stands for the same bytes in every run.
"""

from __future__ import annotations

import functools
import gzip
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.bad_lines import record

FILE_LIMIT = 100_000  # uncompressed bytes, for the files of `FILES`


@dataclass(frozen=True)
class BadFile:
    """An object of profiles that has to be left pending, and the lines that it was meant to have.

    `says` is a part of the reason in the report.
    """

    data: bytes
    lines: tuple[bytes, ...]
    says: str


# Files


def _gzip(lines: tuple[bytes, ...]) -> bytes:
    return gzip.compress(b"\n".join(lines) + b"\n", mtime=0)


def file_lines(name: str) -> tuple[bytes, ...]:
    """61 lines that do not compress well and fill several blocks. One of them is bad, the others are good."""
    chance = random.Random(name)
    lines = [record(id_=f"{name}-{number}", traits=f'{{"a":"{chance.randbytes(100).hex()}"}}') for number in range(60)]
    lines.insert(chance.randrange(60), b"nonsense in a bad file")
    return tuple(lines)


def _files() -> dict[str, BadFile]:
    found: dict[str, BadFile] = {}

    def add(name: str, change: Callable[[bytes], bytes], says: str = "") -> None:
        lines = file_lines(name)
        found[name] = BadFile(change(_gzip(lines)), lines, says)

    add("empty", lambda _: b"", "empty")
    for end in (1, 2, 5, 9, 10, 11, 30):
        add(f"cut off after {end} bytes", lambda data, end=end: data[:end], "truncated")  # type: ignore[misc]
    for percent in (10, 33, 50, 90, 99):
        add(f"cut off at {percent} %", lambda data, part=percent: data[: len(data) * part // 100], "truncated")  # type: ignore[misc]
    for missing in (9, 8, 5, 4, 1):
        add(f"without its last {missing} bytes", lambda data, less=missing: data[:-less], "truncated")  # type: ignore[misc]
    add(
        "a wrong checksum",
        lambda data: data[:-8] + bytes(b ^ 0xFF for b in data[-8:-4]) + data[-4:],
        "not a sound gzip",
    )
    add("a wrong length", lambda data: data[:-4] + struct.pack("<I", 7), "not a sound gzip")
    for part in (20, 50, 80):
        add(f"a flipped bit at {part} %", functools.partial(_flipped, place=part), "")
    add("a run of zeros in the middle", lambda data: data[: len(data) // 2] + bytes(64) + data[len(data) // 2 + 64 :])
    add("a run of bytes missing in the middle", lambda data: data[: len(data) // 2] + data[len(data) // 2 + 50 :])
    add("wrong magic bytes", lambda data: b"\x1f\x8c" + data[2:], "not a sound gzip")
    add("an unknown compression method", lambda data: data[:2] + b"\x07" + data[3:], "not a sound gzip")
    add("bytes in front", lambda data: b"\n" + data, "not a sound gzip")
    add("not compressed", gzip.decompress, "not a sound gzip")
    add("an error page", lambda _: b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "not a sound gzip")
    add("zip", lambda _: b"PK\x03\x04" + bytes(26), "not a sound gzip")
    add("zstd", lambda _: b"\x28\xb5\x2f\xfd" + bytes(20), "not a sound gzip")
    add("zlib", lambda data: zlib.compress(gzip.decompress(data)), "not a sound gzip")
    add("nothing but zeros", lambda data: bytes(len(data)), "not a sound gzip")
    add("a word behind the stream", lambda data: data + b"garbage")
    add("a newline behind the stream", lambda data: data + b"\n")
    add("a byte of a second member", lambda data: data + b"\x1f")
    for end in (2, 9, 10, 50):
        add(f"{end} bytes of a second member", lambda data, end=end: data + data[:end])  # type: ignore[misc]
    add("a second member without its checksum", lambda data: data + data[:-8], "truncated")
    add("a second member without its last byte", lambda data: data + data[:-1], "truncated")
    add(
        "a second member with a wrong checksum",
        lambda data: data + data[:-8] + bytes(4) + data[-4:],
        "not a sound gzip",
    )
    add("a second member that is damaged", lambda data: data + _flipped(data, place=50))
    bomb = gzip.compress(bytes(20_000_000), mtime=0)
    add("a bomb", lambda _: bomb, "limits.file_bytes")
    many = gzip.compress((record() + b"\n") * 100_000, mtime=0)
    add("a bomb of good lines", lambda _: many, "limits.file_bytes")
    add("a bomb as second member", lambda data: data + bomb, "limits.file_bytes")
    add("a bomb of many members", lambda data: data * 50, "limits.file_bytes")
    add("a byte over the limit", _filled(FILE_LIMIT + 1), "limits.file_bytes")
    return found


def _filled(size: int) -> Callable[[bytes], bytes]:
    """A change that lets the file unpack to exactly so many bytes."""

    def change(data: bytes) -> bytes:
        lines = gzip.decompress(data)
        return gzip.compress(lines + b"\n" * (size - len(lines)), mtime=0)

    return change


def _flipped(data: bytes, *, place: int) -> bytes:
    """The stream with the first bit flipped, from `place` percent on, that is not without effect."""
    for index in range(len(data) * place // 100, len(data)):
        changed = data[:index] + bytes([data[index] ^ 0x10]) + data[index + 1 :]
        try:
            gzip.decompress(changed)
        except (EOFError, OSError, zlib.error):
            return changed
    raise AssertionError("no bit of it matters")


FILES = _files()

"""Gzip objects to fuzz with: sound ones of every make, and the same with damage."""

from __future__ import annotations

import struct
import zlib
from random import Random

_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16
_FLUSHES = [zlib.Z_NO_FLUSH, zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_BLOCK]


def objects(chance: Random) -> list[bytes]:
    """A batch of compressed objects, half of them with damage."""
    found: list[bytes] = []
    for _ in range(chance.choice([1, 5, 40])):
        packed = sound(chance)
        while chance.random() < 0.35:
            packed = _damaged(chance, packed, found or [packed])
        found.append(packed)
    return found


def sound(chance: Random) -> bytes:
    """Members one after the other, with lines over their borders, and perhaps padding behind."""
    text = _text(chance)
    cuts = sorted(chance.randint(0, len(text)) for _ in range(chance.choice([0, 0, 1, 2, 12])))
    members = [_member(chance, text[start:end]) for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return b"".join(members) + bytes(chance.choice([0, 0, 0, 1, 7, 8, 512]))


def _text(chance: Random) -> bytes:
    ends = chance.choice([[b"\n"], [b"\r\n"], [b"\n", b"\r\n", b"\n\n", b"\r", b""]])
    lines = []
    for _ in range(chance.choice([0, 1, 3, 20, 200])):
        size = chance.choice([0, 1, 2, 7, 20, 70, 300]) if chance.random() < 0.99 else chance.choice([5_000, 70_000])
        filler = chance.choice([b"x", b" ", b'{"a":1}', b"\0", "é😀\u2028".encode()])
        lines.append(chance.randbytes(size) if chance.random() < 0.1 else (filler * size)[:size])
        lines.append(chance.choice(ends))
    if lines and chance.random() < 0.3:
        lines.pop()
    return b"".join(lines)


def _member(chance: Random, text: bytes) -> bytes:
    flags, more = 0, b""
    if chance.random() < 0.1:
        extra = chance.randbytes(chance.choice([0, 1, 40, 3_000]))
        flags, more = flags | _FEXTRA, more + struct.pack("<H", len(extra)) + extra
    for flag in (_FNAME, _FCOMMENT):
        if chance.random() < 0.1:
            flags, more = flags | flag, more + b"n" * chance.choice([0, 1, 300]) + b"\0"
    head = (
        struct.pack("<4BL2B", 31, 139, 8, flags, chance.choice([0, 1, 2**32 - 1]), chance.choice([0, 2, 4]), 255) + more
    )
    if chance.random() < 0.05:
        head = head[:3] + bytes([flags | _FHCRC]) + head[4:]
        head += struct.pack("<H", zlib.crc32(head) & 0xFFFF)
    packer = zlib.compressobj(
        chance.choice([0, 1, 6, 9]), zlib.DEFLATED, -chance.randint(9, 15), 9, chance.choice([0, 0, 1, 2, 3, 4])
    )
    body, place = b"", 0
    while place < len(text):
        end = place + chance.choice([1, 30, 1_000, 100_000])
        body += packer.compress(text[place:end])
        if chance.random() < 0.3:
            body += packer.flush(chance.choice(_FLUSHES))
        place = end
    return head + body + packer.flush() + struct.pack("<2L", zlib.crc32(text), len(text) & 0xFFFFFFFF)


def _damaged(chance: Random, packed: bytes, others: list[bytes]) -> bytes:
    place = chance.choice(
        [
            chance.randint(0, len(packed)),
            chance.randint(0, min(len(packed), 14)),
            max(0, len(packed) - chance.randint(0, 9)),
        ]
    )
    match chance.randrange(7):
        case 0:
            return packed[:place]
        case 1:
            flipped = bytearray(packed or b"\0")
            flipped[min(place, len(flipped) - 1)] ^= 1 << chance.randrange(8)
            return bytes(flipped)
        case 2:
            return packed + chance.choice(
                [b"\n", b"x", b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08", b"\0\0x", chance.randbytes(30)]
            )
        case 3:
            return packed[:place] + packed[place + chance.choice([1, 2, 8, 100]) :]
        case 4:
            return packed[:place] + chance.randbytes(chance.choice([1, 2, 8])) + packed[place:]
        case 5:
            return packed[:place] + chance.choice(others)[place:]
        case _:
            return chance.choice(
                [b"", packed + chance.choice(others), chance.randbytes(place), packed[place:], bytes(place) + packed]
            )

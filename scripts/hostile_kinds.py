"""Kinds of hostile input: contents of an object of `fan_profiles` that are meant to cost more than good ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

DATASET = "fan_profiles"
_RECORD = (
    b'{"id":"%s","version":%s,"roverID":"fan-%d","emittedAt":"2026-11-01T05:00:00.%03dZ",'
    b'"updatedAt":"2026-11-01T04:%02d:%02dZ","traits":{%s}}\n'
)
_TRAITS = b'"firstName":"Zo\xc3\xab","lastName":"Example","loyaltyTier":"gold","lifetimeSpend":12.5,"pushOptIn":true'


@dataclass(frozen=True)
class Kind:
    """One kind of content.

    Attributes:
        name: what its lines are.
        line: makes the line of a number, with its newline. It draws what it needs from the given source of chance.
        lines: how many of them an object has in the benchmark.
    """

    name: str
    line: Callable[[int, random.Random], bytes]
    lines: int = 100_000

    def content(self, lines: int | None = None) -> bytes:
        """So many lines (default: as in the benchmark)."""
        chance = random.Random(self.name)
        return b"".join(self.line(number, chance) for number in range(lines or self.lines))


def record(number: int, chance: random.Random, *, traits: bytes = _TRAITS, version: bytes = b"1") -> bytes:
    """A line of a good record, but for what is given."""
    at = (number % 1000, number // 60 % 60, number % 60)
    return _RECORD % (chance.randbytes(16).hex().encode(), version, number % 20_000, *at, traits)


USUAL = len(record(0, random.Random(0)))
"""Bytes of a good line."""


def good(length: int) -> Kind:
    """Good lines of about so many bytes: a record of the usual length, with more traits."""

    def line(number: int, chance: random.Random) -> bytes:
        more = b"".join(b',"t%06d":"value-%06d"' % (n, n) for n in range((length - USUAL) // 26))
        return record(number, chance, traits=_TRAITS + more)

    return Kind(f"good lines of {length:,} bytes", line)


def _of(text: bytes) -> Callable[[int, random.Random], bytes]:
    return lambda _number, _chance: text + b"\n"


def _traits(make: Callable[[int, random.Random], bytes]) -> Callable[[int, random.Random], bytes]:
    return lambda number, chance: record(number, chance, traits=make(number, chance))


def _replaced(old: bytes, new: bytes) -> Callable[[int, random.Random], bytes]:
    return lambda number, chance: record(number, chance).replace(old, new)


def _alternating(number: int, chance: random.Random) -> bytes:
    return record(number, chance) if number % 2 else b"not a record %d\n" % number


def _words(number: int, chance: random.Random) -> bytes:
    return b"2026-11-01 05:00:00 INFO request %d took %d ms\n" % (number, chance.randrange(1000))


def _pretty(number: int, _: random.Random) -> bytes:
    return (b"  {", b'    "id": "r%d",' % number, b"  },")[number % 3] + b"\n"


def _keys(count: int) -> Callable[[int, random.Random], bytes]:
    return _traits(lambda _, chance: b",".join(b'"%s":1' % chance.randbytes(6).hex().encode() for _ in range(count)))


def _unknown(count: int) -> Callable[[int, random.Random], bytes]:
    def line(number: int, chance: random.Random) -> bytes:
        more = b"".join(b',"%s":1' % chance.randbytes(5).hex().encode() for _ in range(count))
        return record(number, chance)[:-2] + more + b"}\n"

    return line


LINE_LIMIT = 16 << 20
KINDS = (
    Kind("newlines only", _of(b""), 4_000_000),
    Kind("blanks and tabs", _of(b" \t \t\r"), 1_000_000),
    Kind("empty objects", _of(b"{}"), 400_000),
    Kind("null", _of(b"null"), 400_000),
    Kind("empty arrays", _of(b"[]"), 400_000),
    Kind("log lines, not JSON", _words),
    Kind("JSON that is cut off", lambda number, chance: record(number, chance)[:-20] + b"\n"),
    Kind("nested too deep", _traits(lambda *_: b'"a":' + b"[" * 600 + b"]" * 600), 20_000),
    Kind("nested as deep as allowed", _traits(lambda *_: b'"a":' + b"[" * 498 + b"]" * 498), 20_000),
    Kind("brackets side by side", lambda *_: b"[" + b"[]," * 5_000 + b"[]]\n", 2_000),
    Kind("brackets and escaped quotes", lambda *_: b"[]" * 600 + b'"' + b'\\"' * 5_000 + b"\n", 2_000),
    Kind("very long keys", _traits(lambda _, chance: b'"%s":1' % chance.randbytes(5_000).hex().encode()), 5_000),
    Kind("very many traits", _keys(1_000), 2_000),
    Kind("very many unknown fields", _unknown(1_000), 2_000),
    Kind("other unknown fields in each line", _unknown(3)),
    Kind("huge numbers", _traits(lambda _, chance: b'"a":%d' % (10**300 + chance.getrandbits(64)))),
    Kind("numbers with exponents", _traits(lambda number, _: b'"a":1.5e%d' % (number % 300))),
    Kind("a version of many digits", lambda number, chance: record(number, chance, version=b"9" * 1_000), 30_000),
    Kind("long texts of escapes", _traits(lambda *_: b'"a":"' + b"\\u00e9\\n" * 500 + b'"'), 10_000),
    Kind("not UTF-8", _traits(lambda *_: b'"a":"\xff"')),
    Kind("half of a surrogate pair", _traits(lambda *_: b'"a":"\\ud83d"')),
    Kind("NUL bytes", _of(bytes(300))),
    Kind("NUL in a text", _traits(lambda *_: b'"a":"\\u0000"')),
    Kind("duplicate keys", _traits(lambda *_: b",".join(b'"a":%d' % n for n in range(30)))),
    Kind("a byte order mark", lambda number, chance: b"\xef\xbb\xbf" + record(number, chance)),
    Kind("a required field is missing", _replaced(b"updatedAt", b"updated_at")),
    Kind("a value of a wrong type", _replaced(b'"fan-', b'7,"fan":"')),
    Kind("an unknown version", lambda number, chance: record(number, chance, version=b"%d" % (number + 2))),
    Kind("an unusual form of time", _replaced(b"Z", b"z")),
    Kind("a line just under the limit", _traits(lambda *_: b'"a":"' + b"x" * (LINE_LIMIT - 300) + b'"'), 4),
    Kind("a line over the limit", _traits(lambda *_: b'"a":"' + b"x" * LINE_LIMIT + b'"'), 4),
    Kind("ends of lines by CR alone", lambda number, chance: record(number, chance)[:-1] + b"\r", 20_000),
    Kind("good and bad in turns", _alternating),
    Kind(
        "a pretty-printed array", lambda number, _: (b"  {", b'    "id": "r%d",' % number, b"  },")[number % 3] + b"\n"
    ),
)

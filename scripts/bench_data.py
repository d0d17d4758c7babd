"""Exports for benchmarks: seeded, like real deliveries, and written fast.

A file is a sequence of *blocks* of lines, each from a seed of its own. The last block of a file is the first block of
the next file, so 2% of the lines of a full file are duplicates, as at-least-once delivery gives them. 2% of the events
happened up to five days before they were written.
"""

from __future__ import annotations

import os
import random
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

EVENTS, PROFILES, IDENTITIES, MERGES = "fan_track_events", "fan_profiles", "fan_identity_graph", "fan_profile_merges"

_SEED = 7
_START = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
_DAY = 86_400
_FANS = 100_000

_EVENT = (
    b'{"id":"%s","version":1,"roverID":"%s","emittedAt":"%s","event":"%s","occurredAt":"%s",'
    b'"attributes":%s,"device":%s}'
)
_PROFILE = (
    b'{"id":"%s","version":1,"roverID":"%s","emittedAt":"%s","updatedAt":"%s",'
    b'"traits":{"firstName":"Zo\xc3\xab","lastName":"Example-%d","loyaltyTier":"%s","favourite team":"Harbour Otters",'
    b'"lifetimeSpend":%d.%02d,"seasonTickets":%d,"pushOptIn":true,"emailOptIn":null}}'
)
_IDENTITY = (
    b'{"id":"%s","version":1,"roverID":"%s","emittedAt":"%s",'
    b'"identifierType":"%s","identifierValue":"%s","operation":"%s","updatedAt":"%s"}'
)
_MERGE = b'{"id":"%s","version":1,"roverID":"%s","emittedAt":"%s","fromRoverID":"%s","toRoverID":"%s","mergedAt":"%s"}'
_NAMES = (b"App Opened", b"App Closed", b"Experience Viewed", b"Message Sent", b"Message Opened", b"Message Clicked")
_ATTRIBUTES = (
    b'{"source":"icon","launchCount":%d,"coldStart":true}',
    b'{"source":"push","launchCount":%d,"coldStart":false}',
    b'{"name":"Gate Guide","screen":{"name":"Start","index":%d},"tags":["match","\xc3\xa9t\xc3\xa9"]}',
    b'{"messageID":"msg-%d","channel":"push","campaign":null,"test":false}',
    b'{"messageID":"msg-%d","channel":"push","campaign":null,"test":false}',
    b'{"messageID":"msg-%d","channel":"push","campaign":null,"test":false}',
)
_DEVICES = (
    b'{"platform":"iOS","model":"Samplephone 12","osVersion":"26.1","appVersion":"8.4.0","screenWidth":390}',
    b'{"platform":"Android","model":"Pretend P5","osVersion":"16","appVersion":"8.4.0","screenWidth":412}',
    b'{"platform":"Android","model":"Pretend Tab","osVersion":"15","appVersion":"8.3.2","rooted":null}',
)
_TIERS = (b"bronze", b"silver", b"gold", b"platinum")


@dataclass(frozen=True)
class Part:
    """What to write for one dataset: `files` of `lines` lines each, `per_hour` files in an hour.

    The first file has the number `first`. A part with a later number is a later delivery: it has other lines and hours.
    """

    dataset: str
    files: int
    lines: int
    per_hour: int = 4
    first: int = 0


@dataclass(frozen=True)
class Written:
    """What was written. `distinct`: lines without the duplicates. `raw_bytes`: the uncompressed size."""

    files: int
    lines: int
    distinct: int
    raw_bytes: int


def write_export(source: Path, parts: list[Part]) -> Written:
    """Writes `source`/exports, in worker processes, so that the caller's memory stays small."""
    jobs = [(source, part, number) for part in parts for number in range(part.first, part.first + part.files)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        raw_bytes = sum(pool.map(_write_file, *zip(*jobs, strict=True), chunksize=max(1, len(jobs) // 64)))
    return Written(
        files=len(jobs),
        lines=sum(part.files * _lines(part) for part in parts),
        distinct=sum(part.files * _lines(part) - (part.files - 1) * _block(part) for part in parts),
        raw_bytes=raw_bytes,
    )


def _block(part: Part) -> int:
    """Lines of a block."""
    return max(1, part.lines // 50)


def _lines(part: Part) -> int:
    """Lines of a file: whole blocks."""
    return part.lines // _block(part) * _block(part)


def _write_file(source: Path, part: Part, number: int) -> int:
    block, interval = _block(part), 3600 // part.per_hour
    step = part.lines // block - 1
    make = _MAKERS[part.dataset]
    lines: list[bytes] = []
    for index in range(number * step, (number + 1) * step + 1):
        # Two files may have this block, so nothing in it depends on the file.
        rng = random.Random(f"{_SEED}:{part.dataset}:{index}")
        at = _START + index * interval // step
        ids = rng.randbytes(16 * block).hex().encode()
        lines += [make(rng, ids[32 * n : 32 * n + 32], at, index * block + n) for n in range(block)]
    data = b"\n".join(lines) + b"\n"
    write_object(source, part.dataset, datetime.fromtimestamp(_START + number * interval, UTC), number, data)
    return len(data)


def write_object(source: Path, dataset: str, written: datetime, number: int, data: bytes) -> None:
    """Writes lines as the file of this number, in the folder of its hour."""
    folder = source / "exports" / dataset / f"{written:date=%Y-%m-%d}" / f"{written:hour=%H}"
    folder.mkdir(parents=True, exist_ok=True)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    path = folder / f"{dataset}-{written:%Y%m%dT%H%M%SZ}-part-{number:032x}.ndjson.gz"
    path.write_bytes(packer.compress(data) + packer.flush())


def _event(rng: random.Random, record_id: bytes, at: int, number: int) -> bytes:
    dice = rng.getrandbits(64)
    late = 1 + dice % (5 * _DAY) if number % 50 == 7 else dice % 30
    fan, kind = (dice >> 40) % _FANS, (dice >> 32) % 6
    attributes = _ATTRIBUTES[kind] % ((dice >> 20) % 90)
    emitted, occurred = _stamp(at, dice), _stamp(at - late, dice >> 10)
    return _EVENT % (record_id, _fan(fan), emitted, _NAMES[kind], occurred, attributes, _DEVICES[fan % 3])


def _profile(rng: random.Random, record_id: bytes, at: int, number: int) -> bytes:
    dice = rng.getrandbits(32)
    fan = dice % _FANS
    updated = _stamp(at - 1 - dice % (30 * _DAY), dice >> 7)
    tier = _TIERS[dice >> 30]
    return _PROFILE % (
        *(record_id, _fan(fan), _stamp(at, number), updated, fan, tier),
        *(dice % 4000, dice % 100, dice % 5),
    )


def _identity(rng: random.Random, record_id: bytes, at: int, number: int) -> bytes:
    dice = rng.getrandbits(32)
    fan = dice % _FANS
    kind, value = (b"phone", b"+999%09d" % fan) if dice >> 30 == 0 else (b"email", b"fan%d@example.com" % fan)
    operation = b"delete" if dice % 32 == 0 else b"upsert"
    updated = _stamp(at - 1 - dice % (30 * _DAY), dice >> 7)
    return _IDENTITY % (record_id, _fan(fan), _stamp(at, number), kind, value, operation, updated)


def _merge(rng: random.Random, record_id: bytes, at: int, number: int) -> bytes:
    into, merged = _fan(rng.randrange(_FANS)), _stamp(at, number)
    return _MERGE % (record_id, into, merged, _fan(_FANS + number), into, merged)


_MAKERS: dict[str, Callable[[random.Random, bytes, int, int], bytes]] = {
    EVENTS: _event,
    PROFILES: _profile,
    IDENTITIES: _identity,
    MERGES: _merge,
}


def _stamp(second: int, number: int) -> bytes:
    return b"%s.%03dZ" % (_second(second), number % 1000)


@lru_cache(100_000)
def _second(second: int) -> bytes:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}".encode()


@lru_cache(2 * _FANS)
def _fan(number: int) -> bytes:
    digits = random.Random(number).randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()

"""Any object is damaged as a whole, or has the lines that Python's own gzip module finds, at their numbers."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import closing
from random import Random
from unittest import mock

from compactor.decode import gunzip
from compactor.decode.content import BYTES, container
from compactor.errors import DamagedObject
from tests.fuzz.batch import Batch, Fault
from tests.fuzz.files import objects


def make(chance: Random) -> Batch:
    settings = {
        "block_bytes": chance.choice([1 << 22, 1 << 22, 1000, 64, 7, 1]),
        "line_limit": chance.choice([1 << 30, 1 << 30, 300, 20, 1]),
        "file_limit": chance.choice([1 << 30, 1 << 30, 5_000]),
        "readers": chance.choice([1, 3]),
    }
    return Batch("files", tuple(objects(chance)), settings)


def faults(batch: Batch) -> Iterator[Fault]:
    found: dict[int, dict[int, bytes]] = {number: {} for number in range(len(batch.inputs))}
    done: dict[int, gunzip.Done] = {}
    events = gunzip.read_blocks(
        [f"key-{number}" for number in found],
        lambda number: io.BytesIO(batch.inputs[number]),
        line_limit=batch.settings["line_limit"],
        file_limit=batch.settings["file_limit"],
        readers=batch.settings["readers"],
    )
    with mock.patch.object(gunzip, "BLOCK_BYTES", batch.settings["block_bytes"]), closing(events):
        for event in events:
            if event.file_no in done:
                yield Fault("files: something came after the object's end", repr(event)[:200], event.file_no)
            elif isinstance(event, gunzip.Done):
                done[event.file_no] = event
            else:
                data = bytes(event.data)
                lines = data.removesuffix(b"\n").split(b"\n")
                is_whole = data.endswith(b"\n") and event.lines == len(lines)
                if event.first_line != len(found[event.file_no]) + 1 or not is_whole:
                    yield Fault("files: a block is not whole lines at its number", repr(event)[:200], event.file_no)
                found[event.file_no].update(enumerate(lines, event.first_line))
    for number, packed in enumerate(batch.inputs):
        if number not in done:
            yield Fault("files: an object has no end", "", number)
        elif kind := _wrong(batch, packed, found[number], done[number]):
            yield Fault(f"files: {kind}", f"{done[number].error}\n{found[number]!r}"[:2000], number)


def _wrong(batch: Batch, packed: bytes, found: dict[int, bytes], done: gunzip.Done) -> str | None:
    """What is wrong with the lines of an object that has come to its end."""
    content, line_limit = _unpacked(packed), batch.settings["line_limit"]
    if content is None or len(content) > batch.settings["file_limit"] or container(content[:BYTES]):
        return None if isinstance(done.error, DamagedObject) else "damage passes for content"
    if done.error is not None:
        # Python's module does not look at a header's checksum and spare flags. To do so is no fault.
        return "content passes for damage" if _sound(packed) else None
    lines = content.split(b"\n")
    expected = {at: line[: line_limit + 1] for at, line in enumerate(lines if lines[-1] else lines[:-1], 1)}
    return (
        None if {at: line[: line_limit + 1] for at, line in found.items()} == expected else "the lines are other lines"
    )


def _unpacked(packed: bytes) -> bytes | None:
    """The content by Python's own module, None if it is damaged. Of no bytes at all it makes no content."""
    try:
        return gzip.decompress(packed)
    except (OSError, EOFError, zlib.error):
        return None


def _sound(packed: bytes) -> bool:
    """Whether zlib, too, finds the members sound, headers included."""
    while packed.strip(b"\0"):
        member = zlib.decompressobj(31)
        try:
            member.decompress(packed)
        except zlib.error:
            return False
        if not member.eof:
            return False
        packed = member.unused_data.lstrip(b"\0")
    return True

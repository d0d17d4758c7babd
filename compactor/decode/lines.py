"""Blocks of bytes to a chunk: a table of lines.

Lines are only bytes here, and all is done for the lines of a block at once. Blank ones are left out. Lines are rejected
that need no parser for it: too long, not UTF-8, or beginning with a byte that begins no JSON value. The words are those
of the exact path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compactor.decode import exact, rejects
from compactor.decode.rejects import Reject, RejectedLines

Places = npt.NDArray[np.int64]

_NEWLINE, _ASCII = 10, 127
_NONE = np.zeros(0, np.int64)
_BLANK = np.zeros(256, np.bool_)
_BLANK[list(b" \t\r\n")] = True
_MAY_BE_VALUE = _BLANK.copy()
_MAY_BE_VALUE[list(exact.MAY_BE_VALUE)] = True
_SCHEMA = pa.schema([("file_no", pa.int32()), ("line_no", pa.int64()), ("line", pa.large_string())])


@dataclass(frozen=True)
class Chunk:
    """Lines of one or more objects. Blank ones are left out.

    Attributes:
        lines: a table (file_no int32, line_no int64, line string). Line numbers are 1-based. A line may end with its
            newline.
        rejected: the lines that are no records whatever the registry says, with the columns of `rejects.REJECTED`.
    """

    lines: pa.Table
    rejected: pa.Table


def chunk_of(parts: Iterable[tuple[int, int, bytes]], line_limit: int) -> Chunk:
    """Splits blocks of whole lines into a chunk. A line may have `line_limit` bytes.

    Args:
        parts: blocks as (file_no, number of the first line, bytes).
    """
    rejected = RejectedLines()
    blocks = [_sound(_split(*part), line_limit, rejected) for part in parts]
    sizes = np.cumsum([0, *(len(block.data) for block in blocks)])
    columns = [
        np.concatenate([np.zeros(0, np.int32), *(np.full(len(each.ends), each.file_no, np.int32) for each in blocks)]),
        np.concatenate([_NONE, *(block.numbers for block in blocks)]),
        _texts(
            np.concatenate([_NONE, *(block.ends + size for block, size in zip(blocks, sizes, strict=False))]),
            b"".join(block.data for block in blocks),
        ),
    ]
    return Chunk(pa.table(columns, schema=_SCHEMA), rejected.table())


def pieces(first_line: int, block: bytes, most: int) -> Iterator[tuple[int, int, bytes]]:
    """Cuts a block of whole lines into (number of the first line, lines, bytes), of at most `most` lines each."""
    lines = block.count(b"\n")
    if lines <= most:
        yield first_line, lines, block
        return
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE) + 1
    start = 0
    for line in range(0, lines, most):
        count = min(most, lines - line)
        end = int(ends[line + count - 1])
        yield first_line + line, count, block[start:end]
        start = end


@dataclass(frozen=True)
class _Lines:
    """Lines of one object: their numbers, and the place behind the newline of each."""

    file_no: int
    numbers: Places
    ends: Places
    data: bytes

    @property
    def bytes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.data, np.uint8)

    def only(self, chosen: npt.NDArray[np.bool_]) -> _Lines:
        """These lines alone."""
        if chosen.all():
            return self
        sizes = np.diff(self.ends, prepend=0)
        data = self.bytes[np.repeat(chosen, sizes)].tobytes()
        return _Lines(self.file_no, self.numbers[chosen], np.cumsum(sizes[chosen]), data)


def _split(file_no: int, first_line: int, data: bytes) -> _Lines:
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
    return _Lines(file_no, np.arange(first_line, first_line + len(ends), dtype=np.int64), ends, data)


def _sound(lines: _Lines, limit: int, rejected: RejectedLines) -> _Lines:
    """The lines that may be records. The others are rejected, but for blank ones."""
    if not len(lines.ends):
        return lines
    starts = np.concatenate([np.zeros(1, np.int64), lines.ends[:-1]])
    lengths, first = lines.ends - starts - 1, lines.bytes[starts]

    def reject(index: int, why: Reject) -> None:
        raw = lines.data[starts[index] : lines.ends[index]][:limit]
        rejected.add(lines.file_no, int(lines.numbers[index]), why, raw)

    out = lengths > limit
    for index in np.flatnonzero(out).tolist():
        reject(index, rejects.line_too_long(limit))
    if _BLANK[first].any():
        out |= ~np.logical_or.reduceat(~_BLANK[lines.bytes], starts)
    if not _is_text(lines.data):
        for index in np.flatnonzero(~out & np.logical_or.reduceat(lines.bytes > _ASCII, starts)).tolist():
            try:
                lines.data[starts[index] : lines.ends[index]].decode("utf-8")
            except UnicodeDecodeError as error:
                out[index] = True
                reject(index, rejects.invalid_utf8(error.start))
    # A longer line may be nested too deep, which is judged first.
    no_value = ~_MAY_BE_VALUE[first] & (lengths <= exact.MAX_DEPTH) & ~out
    if no_value.any():
        found = lines.only(no_value)
        texts = _texts(found.ends, found.data)
        rejected.add_all(found.file_no, pa.array(found.numbers), rejects.not_json(0), texts)
    return lines.only(~(out | no_value))


def _texts(ends: Places, data: bytes) -> pa.LargeStringArray:
    offsets = np.concatenate([np.zeros(1, np.int64), ends])
    return pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))


def _is_text(data: bytes) -> bool:
    try:
        _texts(np.array([len(data)]), data).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True

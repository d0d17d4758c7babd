"""Lines as bytes: cut, counted, and rejected where that needs no parser.

All is done for the lines of a chunk at once. Blank lines are left out. Lines that are too long, not UTF-8, or that
begin with a byte which begins no JSON value are rejected, in the words of the exact path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True)
class Part:
    """A block of whole lines of one object, each ended by a newline. `first_line` is 1-based."""

    file_no: int
    first_line: int
    data: bytes


@dataclass(frozen=True)
class Lines:
    """Lines of one or more objects.

    Attributes:
        file_nos, numbers: the object of each line and its 1-based number there.
        ends: the place in `data` behind the newline of each.
    """

    file_nos: Places
    numbers: Places
    ends: Places
    data: bytes

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Lines:
        """All lines of some blocks."""
        data = b"".join(part.data for part in parts)
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
        return cls(*located(parts, np.arange(len(ends))), ends, data)

    @classmethod
    def of_texts(cls, file_nos: Places, numbers: Places, texts: Sequence[str]) -> Lines:
        """Lines that come as texts without a newline."""
        raws = [text.encode() + b"\n" for text in texts]
        return cls(file_nos, numbers, np.cumsum([len(raw) for raw in raws], dtype=np.int64), b"".join(raws))

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def starts(self) -> Places:
        return np.concatenate([np.zeros(min(1, len(self)), np.int64), self.ends[:-1]])

    @property
    def letters(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.data, np.uint8)

    def located(self, places: Places) -> tuple[Places, Places]:
        """The object and the number of lines, by their 0-based places here."""
        return self.file_nos[places], self.numbers[places]

    def raw(self, index: int) -> bytes:
        """A line with its newline."""
        return self.data[self.ends[index - 1] if index else 0 : self.ends[index]]

    def only(self, chosen: npt.NDArray[np.bool_]) -> Lines:
        """Some of the lines."""
        if chosen.all():
            return self
        sizes = np.diff(self.ends, prepend=0)
        if chosen.sum() * 8 < len(chosen):
            data = b"".join(self.raw(index) for index in np.flatnonzero(chosen).tolist())
        else:
            data = self.letters[np.repeat(chosen, sizes)].tobytes()
        return Lines(self.file_nos[chosen], self.numbers[chosen], np.cumsum(sizes[chosen]), data)


def located(parts: Sequence[Part], places: Places) -> tuple[Places, Places]:
    """The object and the number of lines, from their 0-based places among all lines of some blocks."""
    if len(parts) == 1:
        return np.full(len(places), parts[0].file_no, np.int64), places + parts[0].first_line
    before = np.cumsum([0, *(part.data.count(b"\n") for part in parts)])
    which = np.searchsorted(before, places, side="right") - 1
    file_nos = np.array([part.file_no for part in parts], np.int64)
    first = np.array([part.first_line for part in parts], np.int64)
    return file_nos[which], first[which] + places - before[which]


def joined(lines: Sequence[Lines]) -> Lines:
    """Lines one after the other."""
    if len(lines) == 1:
        return lines[0]
    before = np.cumsum([0, *(len(each.data) for each in lines)])
    return Lines(
        np.concatenate([_NONE, *(each.file_nos for each in lines)]),
        np.concatenate([_NONE, *(each.numbers for each in lines)]),
        np.concatenate([_NONE, *(each.ends + size for each, size in zip(lines, before, strict=False))]),
        b"".join(each.data for each in lines),
    )


def pieces(first_line: int, lines: int, block: bytes, most: int) -> Iterator[tuple[int, int, bytes]]:
    """Cuts a block of `lines` whole lines into (number of the first one, lines, bytes), of at most `most` lines each."""
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


def sound(lines: Lines, limit: int, rejected: RejectedLines) -> Lines:
    """The lines that may be records. The others are rejected, but for blank ones. A line may have `limit` bytes."""
    if not len(lines):
        return lines
    starts = lines.starts
    lengths, first = lines.ends - starts - 1, lines.letters[starts]

    def reject(index: int, why: Reject) -> None:
        rejected.add(int(lines.file_nos[index]), int(lines.numbers[index]), why, lines.raw(index)[:limit])

    out = lengths > limit
    for index in np.flatnonzero(out).tolist():
        reject(index, rejects.line_too_long(limit))
    if _BLANK[first].any():
        out |= ~np.logical_or.reduceat(~_BLANK[lines.letters], starts)
    if not _is_text(lines.data):
        for index in np.flatnonzero(~out & np.logical_or.reduceat(lines.letters > _ASCII, starts)).tolist():
            try:
                lines.raw(index).decode("utf-8")
            except UnicodeDecodeError as error:
                out[index] = True
                reject(index, rejects.invalid_utf8(error.start))
    # A longer line may be nested too deep, which is judged first.
    no_value = ~_MAY_BE_VALUE[first] & (lengths <= exact.MAX_DEPTH) & ~out
    if no_value.any():
        found = lines.only(no_value)
        rejected.add_all(found.file_nos, found.numbers, rejects.not_json(0), _texts(found.ends, found.data))
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

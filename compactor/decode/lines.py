"""Lines as bytes, and where each of them came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]

_NEWLINE = 10
_NONE = np.zeros(0, np.int64)


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

    def located(self, places: Places) -> tuple[Places, Places]:
        """The object and the number of lines, by their 0-based places here."""
        return self.file_nos[places], self.numbers[places]

    def raw(self, index: int) -> bytes:
        """A line with its newline."""
        return self.data[self.ends[index - 1] if index else 0 : self.ends[index]]

    def only(self, places: Places) -> Lines:
        """Some of the lines, by their 0-based places here."""
        raws = [self.raw(place) for place in places.tolist()]
        sizes = np.array([len(raw) for raw in raws], np.int64)
        return Lines(*self.located(places), np.cumsum(sizes), b"".join(raws))


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
    """Cuts a block of `lines` lines into (number of the first one, lines, bytes), of at most `most` lines each."""
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

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
class Block:
    """Whole lines of one object, each ended by a newline.

    Attributes:
        first_line: the number of the first one, 1-based.
        lines: how many there are.
    """

    file_no: int
    first_line: int
    lines: int
    data: bytes | memoryview

    @classmethod
    def of(cls, file_no: int, first_line: int, data: bytes) -> Block:
        return cls(file_no, first_line, data.count(b"\n"), data)

    def pieces(self, most: int) -> Iterator[Block]:
        """The lines in blocks of at most `most` each."""
        if self.lines <= most:
            yield self
            return
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == _NEWLINE) + 1
        start = 0
        for line in range(0, self.lines, most):
            count = min(most, self.lines - line)
            end = int(ends[line + count - 1])
            yield Block(self.file_no, self.first_line + line, count, self.data[start:end])
            start = end


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
    def of(cls, blocks: Sequence[Block]) -> Lines:
        """All lines of some blocks."""
        data = b"".join(block.data for block in blocks)
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1
        return cls(*located(blocks, np.arange(len(ends))), ends, data)

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


def located(blocks: Sequence[Block], places: Places) -> tuple[Places, Places]:
    """The object and the number of lines, from their 0-based places among all lines of some blocks."""
    if len(blocks) == 1:
        return np.full(len(places), blocks[0].file_no, np.int64), places + blocks[0].first_line
    before = np.cumsum([0, *(block.lines for block in blocks)])
    which = np.searchsorted(before, places, side="right") - 1
    file_nos = np.array([block.file_no for block in blocks], np.int64)
    first = np.array([block.first_line for block in blocks], np.int64)
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

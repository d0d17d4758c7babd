"""A bounded sample of a dataset's real lines: some objects spread over its hours, some lines of each.

The same source gives the same sample. Nothing is written, and no registry is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from compactor.config import Limits
from compactor.decode import rejects
from compactor.decode.gunzip import whole_lines
from compactor.decode.rejects import Reject
from compactor.errors import DamagedObject, ObjectError, UsageError
from compactor.source import Hour, Ignored, Source, SourceObject
from compactor.yaml_file import did_you_mean

LINES = 200_000
"""Lines of one dataset, at most."""
BYTES = 1 << 30
"""Unpacked bytes of one dataset, at most; of each object a part of it, and no less than one block."""

log = logging.getLogger(__name__)


@dataclass
class Sample:
    """What was read of a dataset.

    Attributes:
        dataset: the name of its folder.
        objects: those chosen, ascending by key.
        listed: the number that there is in the hours asked for.
        ignored: keys that are no export's.
        unreadable: (key, reason) of the chosen objects that could not be read, or only in part.
        cut: objects of which only the first lines were read.
    """

    dataset: str
    objects: list[SourceObject]
    listed: int
    ignored: int
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    cut: int = 0


def folders(source: Source, wanted: tuple[str, ...]) -> list[str]:
    """The dataset folders to look at. Raises UsageError for a wanted one that is not there, or if there is none."""
    found = source.datasets()
    if not found:
        raise UsageError(f"there is no folder below {source.url}/exports/; correct source.url: it ends before exports/")
    for name in wanted:
        if name not in found:
            raise UsageError(f"no folder '{name}' below {source.url}/exports/{did_you_mean(name, found)}")
    return sorted(set(wanted)) or found


def choose(source: Source, dataset: str, start: Hour | None, stop: Hour | None, most: int) -> Sample:
    """Lists the dataset and picks at most `most` objects, the oldest and the newest hour among them.

    Each hour gives one object before any gives two. Memory holds a few times `most` objects, however many there are.
    """
    firsts, others = _Spread(most), _Spread(most)
    ignored, listed, hour = Ignored(), 0, None
    for found in source.list(dataset, start, stop, ignored):
        listed += 1
        (others if found.hour == hour else firsts).add(found)
        hour = found.hour
    chosen = firsts.pick(most)
    chosen += others.pick(most - len(chosen))
    return Sample(dataset, sorted(chosen, key=lambda each: each.key), listed, ignored.count)


class _Spread:
    """Objects of a long row, evenly spread over it, of which at most twice `most` and one are held."""

    def __init__(self, most: int) -> None:
        self._most = max(most, 1)
        self._step, self._seen = 1, 0
        self._kept: list[SourceObject] = []
        self._last: SourceObject | None = None

    def add(self, item: SourceObject) -> None:
        self._last = item
        if self._seen % self._step == 0:
            self._kept.append(item)
            if len(self._kept) > 2 * self._most:
                self._kept = self._kept[::2]
                self._step *= 2
        self._seen += 1

    def pick(self, count: int) -> list[SourceObject]:
        """At most `count` of them, in order, with the first and the last if there is room."""
        if self._last is None or count < 1:
            return []
        row = self._kept if self._kept[-1] is self._last else [*self._kept, self._last]
        if len(row) <= count:
            return row
        return row[-1:] if count == 1 else [row[index * (len(row) - 1) // (count - 1)] for index in range(count)]


def read(sample: Sample, open_object: Callable[[SourceObject], BinaryIO], limits: Limits) -> Iterator[bytes | Reject]:
    """The lines of the chosen objects, without newlines; a `Reject` for one that is too long.

    An object that cannot be read is told in a warning and in `sample.unreadable`, and the others go on. Raises
    SourceError where nothing can be read.
    """
    lines, room = LINES, BYTES
    for number, found in enumerate(sample.objects):
        left = len(sample.objects) - number
        most, most_bytes = lines // left, room // left
        try:
            with _opened(found, open_object) as stream:
                blocks = whole_lines(
                    stream, found.key, line_limit=int(limits.line_bytes), file_limit=int(limits.file_bytes)
                )
                for _, data in blocks:
                    parts = data[:-1].split(b"\n", most) if most_bytes > 0 else []
                    yield from (_checked(line, int(limits.line_bytes)) for line in parts[:most])
                    if not parts or len(parts) > most:  # the last part is what is left of the block
                        lines -= most if parts else 0
                        sample.cut += 1
                        break
                    most, lines = most - len(parts), lines - len(parts)
                    most_bytes, room = most_bytes - len(data), room - len(data)
        except ObjectError as error:
            log.warning("left out of the sample: %s", error)
            sample.unreadable.append((found.key, str(error)))


def _opened(found: SourceObject, open_object: Callable[[SourceObject], BinaryIO]) -> BinaryIO:
    if found.size == 0:
        raise DamagedObject(found.key, f"{found.key}: is empty, which no gzip file is")
    return open_object(found)


def _checked(line: bytes, limit: int) -> bytes | Reject:
    return rejects.line_too_long(limit) if len(line) > limit else line

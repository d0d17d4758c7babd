"""A bounded sample of a dataset's lines: some objects, spread over its hours, and the first lines of each.

The same source gives the same sample. It needs no registry and writes nothing.
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
from compactor.source import Hour, Source, SourceObject
from compactor.yaml_file import did_you_mean

LINES = 200_000
"""The most lines of one dataset."""
BYTES = 1 << 30
"""The most uncompressed bytes of one dataset. Each object gets an equal part, but at least one block is read."""

log = logging.getLogger(__name__)


@dataclass
class Sample:
    """What was read of a dataset.

    Attributes:
        objects: the chosen objects, ascending by key.
        listed: the number of objects in the chosen hours.
        unreadable: (key, reason) of the chosen objects that could not be read, or only in part.
        cut: the number of objects of which only the first lines were read.
    """

    objects: list[SourceObject]
    listed: int
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    cut: int = 0


def folders(source: Source, chosen: tuple[str, ...]) -> list[str]:
    """The chosen dataset folders of the source, by default all. Raises UsageError for one that does not exist."""
    found = source.datasets()
    if not found:
        raise UsageError(
            f"there is no folder below {source.url}/exports/; correct source.url: it is the part before exports/"
        )
    for name in chosen:
        if name not in found:
            raise UsageError(f"no folder '{name}' below {source.url}/exports/{did_you_mean(name, found)}")
    return sorted(set(chosen)) or found


def choose(source: Source, dataset: str, start: Hour | None, stop: Hour | None, most: int) -> Sample:
    """Lists the dataset and chooses at most `most` objects, those of the oldest and the newest hour included.

    Every hour gives one object before any hour gives two. Memory is bounded by `most`, not by the listing.
    """
    firsts, others = _Spread(most), _Spread(most)
    listed, hour = 0, None
    for found in source.list(dataset, start, stop):
        listed += 1
        (others if found.hour == hour else firsts).add(found)
        hour = found.hour
    chosen = firsts.pick(most)
    chosen += others.pick(most - len(chosen))
    log.info("%s: reading %s of %s objects", dataset, f"{len(chosen):,}", f"{listed:,}")
    return Sample(sorted(chosen, key=lambda each: each.key), listed)


class _Spread:
    """Objects spread evenly over a sequence of unknown length. Holds at most 2 * `most` + 1 of them."""

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
    """The lines of the chosen objects, without newlines; a `Reject` for a line that is too long.

    An object that cannot be read is skipped with a warning, and added to `sample.unreadable`. Raises SourceError if the
    source as a whole cannot be read.
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
                for _, _, data in blocks:
                    parts = bytes(data[:-1]).split(b"\n", most) if most_bytes > 0 else []
                    yield from (_checked(line, int(limits.line_bytes)) for line in parts[:most])
                    if not parts or len(parts) > most:  # the last part is the rest of the block
                        lines -= most if parts else 0
                        sample.cut += 1
                        break
                    most, lines = most - len(parts), lines - len(parts)
                    most_bytes, room = most_bytes - len(data), room - len(data)
        except ObjectError as error:
            log.warning("skipped in the sample: %s", error)
            sample.unreadable.append((found.key, str(error)))


def _opened(found: SourceObject, open_object: Callable[[SourceObject], BinaryIO]) -> BinaryIO:
    if found.size == 0:
        raise DamagedObject(found.key, f"{found.key}: the object is empty, so it is not a gzip file")
    return open_object(found)


def _checked(line: bytes, limit: int) -> bytes | Reject:
    return rejects.line_too_long(limit) if len(line) > limit else line

"""Blocks of bytes to a chunk: a table of lines. Lines that are not text or too long are set apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from compactor.decode import rejects
from compactor.decode.rejects import Reject


@dataclass(frozen=True)
class Chunk:
    """Whole lines of one or more objects.

    Attributes:
        lines: a table (file_no int32, line_no int64, line string). Line numbers are 1-based. A line may end with its
            newline.
        broken: lines that are not text, or too long, as (file_no, line_no, reject, raw bytes).
    """

    lines: pa.Table
    broken: tuple[tuple[int, int, Reject, bytes], ...] = ()


def chunk_of(parts: Iterable[tuple[int, int, bytes]], line_limit: int) -> Chunk:
    """Splits blocks of whole lines into a chunk.

    Lines of more than `line_limit` bytes and lines that are not UTF-8 are set apart, so that the others are valid text.

    Args:
        parts: blocks as (file_no, number of the first line, bytes).
    """
    file_nos: list[npt.NDArray[np.int32]] = []
    line_nos: list[npt.NDArray[np.int64]] = []
    blocks: list[bytes] = []
    ends: list[npt.NDArray[np.int64]] = []
    offset = 0
    for file_no, first_line, block in parts:
        end = np.flatnonzero(np.frombuffer(block, np.uint8) == 10) + 1
        file_nos.append(np.full(len(end), file_no, np.int32))
        line_nos.append(np.arange(first_line, first_line + len(end), dtype=np.int64))
        ends.append(end + offset)
        blocks.append(block)
        offset += len(block)
    data = b"".join(blocks)
    offsets = np.concatenate([np.zeros(1, np.int64), *ends])
    lines = pa.table(
        {
            "file_no": np.concatenate([np.zeros(0, np.int32), *file_nos]),
            "line_no": np.concatenate([np.zeros(0, np.int64), *line_nos]),
            "line": pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data)),
        }
    )
    bad: dict[int, Reject] = {}
    for index in np.flatnonzero(np.diff(offsets) - 1 > line_limit).tolist():
        bad[index] = rejects.line_too_long(line_limit)
    try:
        lines["line"].validate(full=True)
    except pa.ArrowInvalid:
        for index in range(len(offsets) - 1):
            raw = data[offsets[index] : offsets[index + 1]]
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError as error:
                bad.setdefault(index, rejects.invalid_utf8(error.start))
    if not bad:
        return Chunk(lines)
    broken = tuple(
        (
            lines["file_no"][index].as_py(),
            lines["line_no"][index].as_py(),
            reject,
            data[offsets[index] : offsets[index + 1]][:line_limit],
        )
        for index, reject in sorted(bad.items())
    )
    sound = np.ones(len(offsets) - 1, bool)
    sound[list(bad)] = False
    return Chunk(lines.filter(pa.array(sound)), broken)

"""The result of reading a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from compactor.duck.relations import Relation

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True)
class Decoded(Generic[R_co]):
    """A batch of objects, decoded. Objects are identified by `file_no`, their place in the batch.

    Attributes:
        records: the decoded records, as the engine has them.
        files: (file_no, key, etag, size) of the objects that were read whole.
        counts: (file_no, n) of the records of each file.
        rejected: (file_no, line_no, version, reason, detail, raw) of the lines that are no records.
        lines: per file, lines that are not blank.
        raw_bytes: of all files, uncompressed.
        failed: per file that could not be read whole, the reason; nothing of it is in the relations.
    """

    records: R_co
    files: Relation
    counts: Relation
    rejected: Relation
    lines: Mapping[int, int]
    raw_bytes: int
    failed: Mapping[int, str]

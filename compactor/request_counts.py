"""Counts what a run asks of storage and of the catalog: on a cloud, requests are time and money.

Each source and each lakehouse has a counter of its own, so that two runs in one process do not mix their figures. A
folder on a local disk counts the same actions, so that a run on it can be compared with a run on S3.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["list", "get", "put", "delete", "head"]


class RequestCounter:
    """Counts requests by kind. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, kind: str) -> None:
        with self._lock:
            self._counts[kind] += 1

    def __getitem__(self, kind: str) -> int:
        return self._counts[kind]

    def by_kind(self, *kinds: Kind) -> dict[str, int]:
        """The number of requests of each of these kinds."""
        return {kind: self._counts[kind] for kind in kinds}


@dataclass(frozen=True)
class Requests:
    """What one run has asked for.

    Attributes:
        source: requests to the storage of the exports, by kind: `list`, `get`.
        tables: files of the tables, and of what lies beside them, by kind: `list`, `get` (opened), `put` (written),
            `delete`, `head` (asked whether they exist).
        catalog: requests to the catalog, or statements to its database.
        metadata: versions of the metadata of tables that were read and parsed. Each is one `get` of `tables` as well.
    """

    source: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    catalog: int = 0
    metadata: int = 0

    @classmethod
    def of(cls, source: RequestCounter, lake: RequestCounter) -> Requests:
        """The figures of a source and of a lakehouse."""
        return cls(
            source.by_kind("list", "get"),
            lake.by_kind("list", "get", "put", "delete", "head"),
            lake["catalog"],
            lake["metadata"],
        )

"""How many rows of a history may name another object than the one that the ledger counts them in.

A record is counted as new in the object that brought it first. If it is delivered again with an earlier time, the new
row names the later object, which counts it as a duplicate. So the rows of an object equal its new lines only if no row
was replaced. Each batch keeps the number of replaced rows since the first one in its snapshot.
"""

from __future__ import annotations

from compactor.lake.table import Table, summary
from compactor.publish.intent import batch_mode

_MOVED = "compactor.moved-rows"


def moved_rows(history: Table) -> int | None:
    """How many rows at most; None if that is not known: an older version has loaded some, or snapshots have expired."""
    snapshot = None
    for snapshot in history.history():
        marks = summary(snapshot)
        if _MOVED in marks:
            return int(marks[_MOVED])
        if batch_mode(snapshot) is not None:
            return None
    return 0 if snapshot is None or snapshot.parent_snapshot_id is None else None


def properties(history: Table, more: int) -> dict[str, str]:
    """The summary's properties of a batch that moves so many rows more."""
    known = moved_rows(history)
    return {} if known is None else {_MOVED: str(known + more)}

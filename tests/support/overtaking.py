"""Steps of a batch at which another run can be let through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from compactor.engines.local import LocalBatch
from compactor.lake.table import Table
from compactor.publish import protocol, upsert
from compactor.publish.intent import CommitIntent

STEPS: dict[str, tuple[Any, str]] = {
    "plan": (LocalBatch, "plan"),
    "write of the intent": (CommitIntent, "write"),
    "writing of files": (LocalBatch, "rewritten"),
    "commit": (Table, "commit"),
    "change of the current table": (protocol, "commit_current"),
    "settling": (CommitIntent, "settle"),
    "put": (upsert, "put"),
    "end of the intent": (CommitIntent, "delete"),
}


@contextmanager
def overtaken(monkeypatch: pytest.MonkeyPatch, step: str, count: int, interlude: Callable[[], None]) -> Iterator[None]:
    """Calls `interlude` once: before the step is taken for the `count`-th time, or at the end if it never is."""
    place, name = STEPS[step]
    original = getattr(place, name)
    taken = 0

    def stepping(*arguments: Any, **options: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken == count:
            interlude()
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, stepping)
        yield
    if taken < count:
        interlude()

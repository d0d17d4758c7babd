"""Steps of a batch at which another run can be let through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from compactor.engines.local import LocalBatch
from compactor.lake.table import Table
from compactor.publish import ledger, protocol
from compactor.publish.intent import Note

STEPS: dict[str, tuple[Any, str]] = {
    "plan": (LocalBatch, "plan"),
    "write of the note": (Note, "write"),
    "writing of files": (LocalBatch, "_rewritten"),
    "commit": (Table, "commit"),
    "change of the current table": (protocol, "_commit_current"),
    "settling": (Note, "settle"),
    "put": (ledger, "put"),
    "end of the note": (Note, "delete"),
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

"""What the tests of the command line share."""

from __future__ import annotations

import pytest

from tests.support.fake_verbs import Lake


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.delenv("COMPACTOR_CONFIG", raising=False)
    return Lake(monkeypatch)

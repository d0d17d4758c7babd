"""Planning again after another writer: how often, and what the last error says."""

from __future__ import annotations

import logging

import pytest
from tenacity import Retrying, wait_none

from compactor.errors import ConflictError, TableVersionChanged
from compactor.lake.retry import on_conflict, on_table_version

CONFLICT = "rover.fans, by the registry: another writer committed first"  # a comma, as a name or a cause may have


def attempts(loop: Retrying, errors: list[Exception]) -> int:
    """How often the loop runs a body that raises these errors, one after the other, then succeeds."""
    loop.wait = wait_none()
    count = 0
    for attempt in loop:
        with attempt:
            count += 1
            if errors:
                raise errors.pop(0)
    return count


def test_a_conflict_is_planned_again_and_logged_by_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="compactor")
    assert attempts(on_conflict(3), [ConflictError(CONFLICT), ConflictError(CONFLICT, attempts=5)]) == 3
    assert [record.getMessage() for record in caplog.records] == [f"{CONFLICT}; planning again"] * 2


def test_giving_up_on_conflicts_says_how_often_and_names_the_setting() -> None:
    with pytest.raises(ConflictError) as caught:
        attempts(on_conflict(2), [ConflictError(CONFLICT)] * 2)
    assert str(caught.value) == f"{CONFLICT} after 2 attempts; run again, or raise commit.attempts"
    assert (caught.value.cause, caught.value.attempts) == (CONFLICT, 2)


def test_giving_up_on_migrations_names_no_setting_that_does_not_govern_it() -> None:
    cause = "fan_profiles: its tables were migrated meanwhile"
    with pytest.raises(TableVersionChanged) as caught:
        attempts(on_table_version(), [TableVersionChanged(cause)] * 3)
    assert str(caught.value) == f"{cause} 3 times; run again when no migration is in progress"
    assert "commit.attempts" not in str(caught.value)


def test_any_other_error_is_raised_at_once() -> None:
    with pytest.raises(TableVersionChanged):
        attempts(on_conflict(3), [TableVersionChanged("fans: migrated")])

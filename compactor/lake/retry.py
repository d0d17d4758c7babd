"""Optimistic concurrency: a plan that another writer has overtaken is made again from a fresh load."""

from __future__ import annotations

import logging
from typing import NoReturn

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from compactor.errors import ConflictError, TableVersionChanged

log = logging.getLogger(__name__)

_VERSION_ATTEMPTS = 3  # a migration happens once during a run, if at all


def on_conflict(attempts: int) -> Retrying:
    """Plans again after a ConflictError, a little later each time.

    Raises ConflictError with the number of attempts when all have failed.
    """
    return _again(ConflictError, attempts)


def on_table_version() -> Retrying:
    """Starts again with the tables' new version when they are migrated meanwhile.

    Raises TableVersionChanged with the number of attempts when that happens at each.
    """
    return _again(TableVersionChanged, _VERSION_ATTEMPTS)


def _again(kind: type[ConflictError | TableVersionChanged], attempts: int) -> Retrying:
    def cause(state: RetryCallState) -> str:
        assert state.outcome is not None
        error = state.outcome.exception()
        assert isinstance(error, kind)
        return error.cause

    def announce(state: RetryCallState) -> None:
        log.info("%s; planning again", cause(state))

    def give_up(state: RetryCallState) -> NoReturn:
        assert state.outcome is not None
        raise kind(cause(state), attempts=state.attempt_number) from state.outcome.exception()

    return Retrying(
        retry=retry_if_exception_type(kind),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=0.1, max=5),
        before_sleep=announce,
        retry_error_callback=give_up,
    )

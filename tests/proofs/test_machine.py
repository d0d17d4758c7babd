"""Whatever deliveries, runs, crashes and replays come after each other: what is loaded is what the model says."""

from __future__ import annotations

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from tests.support.machine import QUIET, LakeMachine

EXAMPLES = 5


SEEDS = 200  # with EXAMPLES each


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in range(1, SEEDS + 1))])
def test_any_sequence_of_steps_ends_as_the_model_says(number: int) -> None:
    """EXAMPLES sequences of steps from each seed; one that fails is told as the calls that it was."""
    machine = seed(number)(type("LakeMachine", (LakeMachine,), {}))
    run_state_machine_as_test(machine, settings=settings(QUIET, max_examples=EXAMPLES))

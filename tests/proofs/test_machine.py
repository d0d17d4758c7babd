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


@pytest.mark.parametrize(
    ("number", "examples"), [(0, 1), *(pytest.param(n, EXAMPLES, marks=pytest.mark.soak) for n in range(SEEDS + 1))]
)
def test_any_sequence_of_steps_ends_as_the_model_says(number: int, examples: int) -> None:
    """So many sequences of steps from each seed. One that fails is printed as the calls that it was."""
    machine = seed(number)(type("LakeMachine", (LakeMachine,), {}))
    run_state_machine_as_test(machine, settings=settings(QUIET, max_examples=examples))

"""Any line at all: the bulk path, the exact path and the model agree."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compactor.registry.dataset import Dataset
from tests.support.any_record import STEADY, assert_all_agree, records
from tests.support.decoding import REGISTRY, modelled
from tests.support.model import DATASETS
from tests.support.outcomes import by_exact_path


@pytest.mark.parametrize("examples", [30, pytest.param(300, marks=pytest.mark.soak)])
@pytest.mark.parametrize("dataset", sorted(DATASETS))
def test_the_bulk_path_the_exact_path_and_the_model_agree(
    con: duckdb.DuckDBPyConnection, dataset: str, examples: int
) -> None:
    @settings(STEADY, max_examples=examples)
    @given(lines=st.lists(records(REGISTRY.get(dataset)), min_size=1, max_size=6))
    def agree(lines: list[bytes]) -> None:
        assert_all_agree(con, REGISTRY.get(dataset), lines)
        for line in lines:
            outcome = by_exact_path(REGISTRY.get(dataset), line)
            if outcome is not None:
                assert modelled(dataset, line) == (outcome[0] if isinstance(outcome, tuple) else outcome), line

    agree()


@pytest.mark.parametrize("examples", [30, pytest.param(600, marks=pytest.mark.soak)])
def test_the_bulk_path_and_the_exact_path_agree_on_every_type_and_version(
    con: duckdb.DuckDBPyConnection, things: Dataset, examples: int
) -> None:
    @settings(STEADY, max_examples=examples)
    @given(lines=st.lists(records(things), min_size=1, max_size=6))
    def agree(lines: list[bytes]) -> None:
        assert_all_agree(con, things, lines)

    agree()

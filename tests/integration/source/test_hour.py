"""The UTC hour of an export."""

from __future__ import annotations

import pytest

from compactor.errors import UsageError
from compactor.source import Hour
from tests.support.sources import FIRST, FOREIGN, SECOND, THIRD, key_of


def test_an_hour_is_read_as_it_is_written() -> None:
    assert str(Hour.parse("2026-11-01T05")) == "2026-11-01T05"
    assert Hour.parse("2026-11-01") == Hour("2026-11-01", 0)


@pytest.mark.parametrize("text", ["", "today", "2026-02-30", "2026-11-01T24", "2026-11-01T05:00", "20261101"])
def test_what_is_no_hour_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="is not a UTC hour; write it as 2026-11-01T05"):
        Hour.parse(text)


def test_hours_are_counted_back_over_days_and_years() -> None:
    assert Hour("2026-01-01", 1).minus(2) == Hour("2025-12-31", 23)
    assert Hour("2026-01-01", 1).minus(0) == Hour("2026-01-01", 1)
    assert Hour("2026-01-01", 1).minus(10**10) == Hour("0001-01-01", 0)


def test_hours_compare_by_time() -> None:
    assert sorted([THIRD, SECOND, FIRST]) == [FIRST, SECOND, THIRD]


def test_an_hour_is_parsed_from_a_key() -> None:
    assert Hour.of_key(key_of(SECOND)) == SECOND
    assert [Hour.of_key(key) for key in FOREIGN] == [None] * len(FOREIGN)

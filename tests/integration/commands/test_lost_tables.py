"""Tables that are gone, made again, or older copies: no run builds on them in silence, and each can be put back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from compactor.commands.status import status
from compactor.commands.verify.verify import verify
from compactor.errors import LostTableError
from tests.support.damage import EVENTS, STATE, run_repair
from tests.support.histories import History
from tests.support.lost import (
    LOSSES,
    OWN,
    TABLES,
    TwoNights,
    drop,
    lose_the_catalog,
    take_an_older_catalog,
    take_an_older_copy,
)

SOAK = pytest.mark.soak
SAMPLE = {
    (drop, EVENTS),
    (take_an_older_copy, STATE),
}
OWN_SAMPLE = {(drop, "compactor_files")}


def deliver(nights: TwoNights) -> None:
    """New objects of both datasets, not loaded yet."""
    for number, delivery in enumerate(History(43, datasets=(STATE, EVENTS), entities=8).deliveries(4, 15)):
        nights.lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=f"new-{number}")


def assert_named(nights: TwoNights, table: str) -> None:
    """`status` and `verify` name the table, change nothing, and end with 1."""
    lake = nights.lake
    found = status(lake.config, lake.registry)
    assert found.exit_code == 1
    assert table in {problem.subject for problem in found.problems}
    checked = verify(lake.config, lake.registry, rebuild=False)
    assert checked.exit_code == 1
    assert [check for check in checked.checks if check.table == table and not check.ok]


def follow_the_plan(nights: TwoNights) -> None:
    """The repair, then a run: then all is as if nothing had happened."""
    lake = nights.lake
    plan = run_repair(lake, yes=False)
    assert plan.repairs
    assert all(each.possible for each in plan.repairs), plan.repairs
    run_repair(lake, yes=True)
    assert lake.compact(full_scan=True).exit_code in (0, 3)
    failed = [check for check in verify(lake.config, lake.registry, rebuild=True, files=True).checks if not check.ok]
    assert not failed
    lake.assert_equals_model((STATE, EVENTS))
    assert status(lake.config, lake.registry).problems == ()


OF_DATASETS = [
    pytest.param(loss, table, marks=() if (loss, table) in SAMPLE else SOAK, id=f"{loss.__name__}-{table}")
    for loss in LOSSES
    for table in TABLES
    if table not in OWN
]
OF_OUR_OWN = [
    pytest.param(loss, table, marks=() if (loss, table) in OWN_SAMPLE else SOAK, id=f"{loss.__name__}-{table}")
    for loss in LOSSES
    for table in OWN
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("loss", "table"), OF_DATASETS)
def test_a_lost_table_stops_its_dataset_alone_and_can_be_put_back(
    nights: TwoNights, loss: Callable[[TwoNights, str], None], table: str
) -> None:
    deliver(nights)
    loss(nights, table)
    lost, other = (EVENTS, STATE) if table == EVENTS else (STATE, EVENTS)

    report = nights.lake.compact(full_scan=True)

    assert report.exit_code == 1
    assert [each.dataset for each in report.datasets if each.objects] == [other]
    (problem,) = report.problems
    assert table in str(problem)
    assert "`compactor verify --repair`" in problem.step
    nights.lake.assert_equals_model((other,))
    assert not [row for row in nights.lake.ledger() if row["dataset"] == lost and "new-" in row["key"]]
    assert_named(nights, table)
    follow_the_plan(nights)


@pytest.mark.parametrize(("loss", "table"), OF_OUR_OWN)
def test_a_lost_table_of_the_program_stops_the_run_and_can_be_put_back(
    nights: TwoNights, loss: Callable[[TwoNights, str], None], table: str
) -> None:
    deliver(nights)
    loss(nights, table)
    with pytest.raises(LostTableError, match=rf"^{table}: .*`compactor verify --repair`"):
        nights.lake.compact(full_scan=True)
    assert_named(nights, table)
    follow_the_plan(nights)


@pytest.mark.parametrize("loss", [lose_the_catalog, pytest.param(take_an_older_catalog, marks=SOAK)])
def test_a_lost_catalog_stops_the_run_and_can_be_put_back(nights: TwoNights, loss: Callable[[TwoNights], None]) -> None:
    deliver(nights)
    loss(nights)
    with pytest.raises(LostTableError, match=r"^compactor_files: .*`compactor verify --repair`"):
        nights.lake.compact(full_scan=True)
    for table in TABLES:
        assert_named(nights, table)
    follow_the_plan(nights)

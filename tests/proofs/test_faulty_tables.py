"""A whole job whose tables lie in an S3 that misbehaves: right rows, or one sentence and a next run that completes.

Arrow's S3 client reads and writes the tables, so its own retries are what is tested here. Each fault is a row of
docs/reliability.md, by the name of its test.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from compactor.cli.main import program
from tests.support.assertions import assert_one_sentence
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.s3_server import Answer, Bucket, Cut, Fault, Hop, Request

DATASETS = ("fan_identity_graph",)
FAULTS: dict[str, Fault] = {
    "500": Answer.refusal(500, "InternalError"),
    "503 SlowDown": Answer.refusal(503, "SlowDown"),
    "reset": Cut(0, "reset"),
    "truncated": Cut(20),
    "slow": Cut(0, "stall"),
    "access denied": Answer.refusal(403, "AccessDenied"),
    "expired": Answer.refusal(400, "ExpiredToken"),
}
PASSING = ("503 SlowDown", "reset", "truncated", "slow")  # and 500 by default


class FaultyTables:
    """A lake whose warehouse is a bucket behind the hop. It has tables, and objects that are pending."""

    def __init__(self, folder: Path, bucket: Bucket, hop: Hop, capsys: pytest.CaptureFixture[str]) -> None:
        self.lake, self.hop, self._capsys = Lake(folder), hop, capsys
        catalog = {
            "type": "sql",
            "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": f"s3://{bucket.name}/lake",
            "s3.endpoint": hop.url,
            "s3.region": "us-east-1",
            "s3.request-timeout": "1",
        }
        lines = [f"    {name}: '{value}'" for name, value in catalog.items()]
        text = "\n".join(["catalog:", "  properties:", *lines, ""])
        self.lake.file.write_text(self.lake.file.read_text() + "\n" + text)
        self._history = History(6, datasets=DATASETS, entities=4, replaces=False)
        self.deliver(2)
        assert self.compact()[0] in (0, 3)
        self.deliver(4)

    def deliver(self, count: int) -> None:
        for delivery in self._history.deliveries(count, 12):
            self.lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)

    def compact(self, script: Callable[[Request], Fault | None] = lambda request: None) -> tuple[int, str]:
        """Exit code and stderr of a run, the requests of which are spoiled by the script."""
        self.hop.script = script
        words = ["-c", str(self.lake.file), "compact", "--full-scan", *(f"--dataset={name}" for name in DATASETS)]
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            program.main(words)
        self.hop.script = lambda request: None
        assert isinstance(end.value.code, int)
        return end.value.code, self._capsys.readouterr().err

    def assert_next_run_completes(self) -> None:
        code, errors = self.compact()
        assert code in (0, 3), errors
        self.lake.assert_equals_model(DATASETS)

    def assert_failed_with_a_sentence(self, code: int, errors: str) -> None:
        assert_one_sentence(code, errors, "; ")
        assert "unexpected error" not in errors
        for name in DATASETS:
            assert self.lake.history(name).keys() <= self.lake.model.history(name).keys()


@pytest.fixture
def faulty(
    tmp_path: Path, bucket: Bucket, hop: Hop, capsys: pytest.CaptureFixture[str], logging_restored: None
) -> FaultyTables:
    return FaultyTables(tmp_path, bucket, hop, capsys)


@pytest.mark.parametrize("fault", ["500", *(pytest.param(name, marks=pytest.mark.soak) for name in PASSING)])
def test_a_fault_of_the_tables_bucket_that_passes_is_retried_and_nothing_is_seen_of_it(
    faulty: FaultyTables, fault: str
) -> None:
    """Every twenty-ninth request, whatever it is."""
    requests = 0

    def spoil(request: Request) -> Fault | None:
        nonlocal requests
        requests += 1
        return FAULTS[fault] if requests % 29 == 0 else None

    code, errors = faulty.compact(spoil)
    assert code in (0, 3), errors
    assert requests > REQUESTS
    faulty.lake.assert_equals_model(DATASETS)


REQUESTS = 180  # a little less than what a run has


@pytest.mark.parametrize(
    ("fault", "twelfths"),
    [
        ("reset", 6),
        *(pytest.param(*case, marks=pytest.mark.soak) for case in product(FAULTS, range(12)) if case != ("reset", 6)),
    ],
)
def test_a_fault_of_the_tables_bucket_that_stays_ends_the_run_with_a_sentence_and_the_next_run_completes(
    faulty: FaultyTables, fault: str, twelfths: int
) -> None:
    """Each request is spoiled from some request on, so many twelfths into a run."""
    requests = 0

    def spoil(request: Request) -> Fault | None:
        nonlocal requests
        requests += 1
        return FAULTS[fault] if requests > REQUESTS * twelfths // 12 else None

    faulty.assert_failed_with_a_sentence(*faulty.compact(spoil))
    faulty.assert_next_run_completes()


@pytest.mark.parametrize("seed", [pytest.param(n, marks=pytest.mark.soak) for n in range(100)])
def test_whatever_the_tables_bucket_does_no_row_is_wrong(faulty: FaultyTables, seed: int) -> None:
    """Faults of all kinds at random, in one run after another, until one gets through."""
    chance = random.Random(seed)
    kinds = [fault for name, fault in FAULTS.items() if name != "slow"]

    def spoil(request: Request) -> Fault | None:
        return chance.choice(kinds) if chance.random() < 0.02 else None

    for _ in range(4):
        code, errors = faulty.compact(spoil)
        if code == 1:
            faulty.assert_failed_with_a_sentence(code, errors)
        else:
            assert code in (0, 3)
            faulty.lake.assert_equals_model(DATASETS)
        faulty.deliver(2)
    faulty.assert_next_run_completes()

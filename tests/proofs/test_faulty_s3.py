"""A whole job over an S3 that misbehaves: what it loads is right, and what it cannot load stays pending and is named.

Each fault is a row of docs/reliability.md, by the name of its test.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from tenacity import wait_none

from compactor.errors import SourceError
from compactor.reports.report import RunReport
from compactor.source.s3 import S3Source
from tests.support.assertions import assert_failed
from tests.support.histories import History
from tests.support.lake import Lake
from tests.support.s3_server import Answer, Bucket, Cut, Fault, Hop, Request

DATASETS = ("fan_profiles", "fan_identity_graph")
SOAK = pytest.mark.soak


class Faulty:
    """A lake whose source is a bucket behind the hop. `victim` is the key that faults are for."""

    def __init__(self, folder: Path, bucket: Bucket, hop: Hop) -> None:
        settings = "batch: {objects: 3}"
        self.lake = Lake(folder, settings=settings)
        self.bucket, self.hop = bucket, hop
        source = f"url: s3://{bucket.name}/in, endpoint: {hop.url}, max_attempts: 3, read_timeout: 1, readers: 2"
        text = self.lake.file.read_text().replace(f"url: {self.lake.source}", source)
        self.lake.file.write_text(text)
        self.history = History(5, datasets=DATASETS, entities=4, replaces=False)
        self.deliver(8)
        self.victim = sorted(path.name for path in self.lake.source.rglob("fan_profiles*.gz"))[1]

    def deliver(self, count: int) -> None:
        for delivery in self.history.deliveries(count, 12):
            key = self.lake.deliver(delivery.dataset, delivery.lines, hour=delivery.hour, part=delivery.part)
            self.bucket.put(f"in/{key}", (self.lake.source / key).read_bytes())

    def compact(self) -> RunReport:
        return self.lake.compact(datasets=DATASETS, full_scan=True)

    def spoil_victim(self, *faults: Fault | None, always: Fault | None = None) -> None:
        """Spoils the reads of the victim: one fault for each, then `always`."""
        left = iter(faults)
        self.hop.script = lambda request: next(left, always) if self.is_of_victim(request) else None

    def is_of_victim(self, request: Request) -> bool:
        return request.reads and request.path.endswith(self.victim)

    def assert_loaded(self) -> None:
        self.lake.assert_equals_model(DATASETS)

    def assert_victim_pending(self, report: RunReport, reason: str) -> None:
        """The victim alone is pending, and once the fault is over the next run makes everything right."""
        failed = [failure for dataset in report.datasets for failure in dataset.failed]
        assert report.exit_code == 1
        assert [key.endswith(self.victim) for key, _ in failed] == [True]
        assert reason in failed[0][1]
        keys = {row["key"] for row in self.lake.ledger()}
        assert len(keys) == 7
        assert not any(key.endswith(self.victim) for key in keys)
        self.hop.script = lambda request: None
        assert self.compact().exit_code in (0, 3)
        self.assert_loaded()


@pytest.fixture
def faulty(tmp_path: Path, bucket: Bucket, hop: Hop, no_backoff: None, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    monkeypatch.setattr("compactor.commands.compact.open_source", lambda config: S3Source(config, wait=wait_none()))
    return Faulty(tmp_path, bucket, hop)


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Answer.refusal(500, "InternalError")] * 2, id="500"),
        pytest.param([Answer.refusal(503, "SlowDown")] * 2, id="503 SlowDown", marks=SOAK),
        pytest.param([Cut(40, "reset"), Cut(0, "reset")], id="reset"),
        pytest.param([Cut(40, "stall")], id="slow"),
        pytest.param([Cut(40), Cut(10)], id="truncated"),
    ],
)
def test_a_fault_that_passes_is_retried_and_nothing_is_seen_of_it(faulty: Faulty, faults: list[Fault]) -> None:
    faulty.spoil_victim(*faults)
    assert faulty.compact().exit_code in (0, 3)
    faulty.assert_loaded()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Answer.refusal(500, "InternalError"), "InternalError (HTTP 500) to every attempt", id="500"),
        pytest.param(
            Answer.refusal(503, "SlowDown"), "SlowDown (HTTP 503) to every attempt", id="503 SlowDown", marks=SOAK
        ),
        pytest.param(Cut(0, "reset"), "the connection broke", id="reset", marks=SOAK),
        pytest.param(Cut(0), "the connection broke", id="truncated"),
        pytest.param(Answer.refusal(403, "AccessDenied"), "access denied; grant s3:GetObject", id="access denied"),
    ],
)
def test_a_fault_that_stays_leaves_its_object_pending_and_loads_the_others(
    faulty: Faulty, fault: Fault, reason: str
) -> None:
    faulty.spoil_victim(always=fault)
    faulty.assert_victim_pending(faulty.compact(), reason)


def test_a_200_whose_body_stops_short_is_no_whole_object(faulty: Faulty) -> None:
    """The answer's own length agrees with its body, which even is whole gzip; the listing alone says it is short."""
    path = next(faulty.lake.source.rglob(faulty.victim))
    key, body = f"in/{path.relative_to(faulty.lake.source).as_posix()}", path.read_bytes()
    faulty.bucket.put(key, body + gzip.compress(b"", mtime=0))
    etag = faulty.bucket.client.head_object(Bucket=faulty.bucket.name, Key=key)["ETag"]
    faulty.spoil_victim(always=Answer(200, body, {"ETag": etag}))
    faulty.assert_victim_pending(faulty.compact(), "cannot read")


def test_an_object_replaced_between_listing_and_reading_stays_pending(faulty: Faulty) -> None:

    def replace_it(request: Request) -> Fault | None:
        if faulty.is_of_victim(request):
            faulty.hop.script = lambda request: None
            faulty.bucket.put(unquote(request.path).removeprefix(f"/{faulty.bucket.name}/"), b"another content")
        return None

    faulty.hop.script = replace_it
    report = faulty.compact()
    ((key, reason),) = (failure for dataset in report.datasets for failure in dataset.failed)
    assert report.exit_code == 1
    assert key.endswith(faulty.victim)
    assert "it was replaced after it was listed; the next run lists again" in reason
    assert faulty.compact().exit_code == 1  # what it was replaced by is no gzip file
    faulty.bucket.put(f"in/{key}", (faulty.lake.source / key).read_bytes())
    assert faulty.compact().exit_code in (0, 3)
    faulty.assert_loaded()


def test_a_listing_page_that_fails_once_is_requested_again(faulty: Faulty) -> None:
    faults = iter([Answer.refusal(500, "InternalError"), Answer.refusal(503, "SlowDown")])
    faulty.hop.script = lambda request: next(faults, None) if request.lists else None
    assert faulty.compact().exit_code in (0, 3)
    faulty.assert_loaded()


def test_a_listing_that_keeps_failing_ends_the_run_before_anything_is_loaded(faulty: Faulty) -> None:
    faulty.hop.script = lambda request: Answer.refusal(500, "InternalError") if request.lists else None
    with pytest.raises(
        SourceError, match=r"^cannot list s3://.*InternalError \(HTTP 500\) to every attempt; run again"
    ):
        faulty.compact()
    assert faulty.lake.ledger() == []
    faulty.hop.script = lambda request: None
    faulty.compact()
    faulty.assert_loaded()


def test_credentials_that_expire_in_the_middle_end_the_run_and_keep_what_was_loaded(faulty: Faulty) -> None:
    reads = 0

    def expire(request: Request) -> Fault | None:
        nonlocal reads
        reads += request.reads
        return Answer.refusal(400, "ExpiredToken") if reads > 4 else None

    faulty.hop.script = expire
    assert_failed(faulty.compact(), "the credentials have expired; renew them, then run again")
    assert 0 < len(faulty.lake.ledger()) < 8
    faulty.hop.script = lambda request: None
    faulty.compact()
    faulty.assert_loaded()


@pytest.mark.parametrize("commit", [1, 3, 5, 7, *(pytest.param(n, marks=SOAK) for n in (2, 4, 6, 8))])
def test_a_commit_whose_answer_is_lost_is_recognised_and_not_repeated(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch, commit: int
) -> None:
    commits = 0
    original: Callable[..., object] = SqlCatalog.commit_table

    def losing(*arguments: object, **options: object) -> object:
        nonlocal commits
        commits += 1
        answer = original(*arguments, **options)
        if commits == commit:
            raise TimeoutError("the answer is lost")
        return answer

    monkeypatch.setattr(SqlCatalog, "commit_table", losing)
    assert faulty.compact().exit_code in (0, 3)
    assert commits > commit
    faulty.assert_loaded()


def test_a_commit_that_fails_leaves_nothing_visible_and_the_next_run_completes(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object, **__: object) -> object:
        raise TimeoutError("nothing arrived")

    with monkeypatch.context() as patch:
        patch.setattr(SqlCatalog, "commit_table", refusing)
        assert_failed(faulty.compact(), r"the commit failed .*; nothing of it was published, run again")
    assert faulty.lake.ledger() == []
    faulty.compact()
    faulty.assert_loaded()

"""Claims that hold for a folder and for a bucket alike."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compactor.errors import ChangedObject, ObjectError
from compactor.source import Hour, IgnoredKeys
from tests.support.sources import (
    BIG,
    FIRST,
    FOREIGN,
    SECOND,
    THIRD,
    BucketStore,
    FolderStore,
    Store,
    content_of,
    key_of,
    listed,
    only,
)


@pytest.fixture(params=["folder", "bucket", "bucket/with/prefix/"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    kind, _, prefix = str(request.param).partition("/")
    if kind == "folder":
        return FolderStore(tmp_path / "lake")
    return BucketStore(request.getfixturevalue("bucket"), prefix)


def test_a_listed_object_has_its_dataset_key_size_and_hour(store: Store) -> None:
    store.put(key_of(FIRST), b"12345")
    obj = only(store.source)
    assert (obj.dataset, obj.key, obj.size, obj.hour) == ("fan_profiles", key_of(FIRST), 5, FIRST)
    assert obj.etag
    assert '"' not in obj.etag


def test_only_the_asked_dataset_is_listed(store: Store) -> None:
    store.put(key_of(FIRST))
    store.put(key_of(FIRST, dataset="fan_profiles_other"))
    assert listed(store.source) == [key_of(FIRST)]


def test_datasets_are_the_folders_below_exports(store: Store) -> None:
    for dataset in ("fan_profiles", "fan-a", "fan"):
        store.put(key_of(FIRST, dataset=dataset))
    store.put("exports/README.txt")
    store.put("elsewhere/fan_z/file")
    assert store.source.datasets() == ["fan", "fan-a", "fan_profiles"]


def test_a_source_without_exports_is_empty_and_no_error(store: Store) -> None:
    store.put("README.txt")
    assert store.source.datasets() == []
    assert listed(store.source) == []


def test_what_is_no_export_is_counted_and_left_alone(store: Store) -> None:
    for key in (*FOREIGN, key_of(FIRST)):
        store.put(key)
    ignored = IgnoredKeys()
    assert listed(store.source, ignored=ignored) == [key_of(FIRST)]
    assert ignored.count == len(FOREIGN)
    assert ignored.examples == sorted(FOREIGN)[:5]


def test_keys_come_in_ascending_order_whatever_lies_between(store: Store) -> None:
    keys = [key_of(hour, token) for hour in (THIRD, FIRST, SECOND) for token in ("b", "B", "a-", "a", "é", "~")]
    odd = ["exports/fan_profiles/date=2026-11-01-old/x", "exports/fan_profiles/date=2026-11-01.bak"]
    for key in (*keys, *odd):
        store.put(key)
    assert listed(store.source) == sorted(keys)


@pytest.mark.parametrize("token", ["a b", "a+b", "a%2Fb", "a&b=c", "(é)", "#1?", "~!*'", "東京", "a" * 150])
def test_an_odd_but_legal_token_is_listed_and_read(store: Store, token: str) -> None:
    store.put(key_of(FIRST, token), b"bytes")
    obj = only(store.source)
    assert obj.key == key_of(FIRST, token)
    assert content_of(store.source, obj) == b"bytes"


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (None, None, [FIRST, SECOND, THIRD]),
        (SECOND, None, [SECOND, THIRD]),
        (None, SECOND, [FIRST, SECOND]),
        (SECOND, SECOND, [SECOND]),
        (Hour("2026-11-01", 7), Hour("2026-11-01", 23), []),
        (THIRD, FIRST, []),
    ],
)
def test_a_window_holds_both_its_ends_and_nothing_else(
    store: Store, start: Hour | None, stop: Hour | None, expected: list[Hour]
) -> None:
    for hour in (FIRST, SECOND, THIRD):
        store.put(key_of(hour))
    assert listed(store.source, start, stop) == [key_of(hour) for hour in expected]


def test_an_object_is_read_as_the_raw_bytes_it_has(store: Store) -> None:
    content = gzip.compress(BIG)
    store.put(key_of(FIRST), content)
    with store.source.open(only(store.source)) as stream:
        pieces = [*iter(lambda: stream.read(70_000), b"")]
    assert b"".join(pieces) == content
    assert all(len(piece) == 70_000 for piece in pieces[:-1])


def test_an_empty_object_is_listed_and_read_as_nothing(store: Store) -> None:
    store.put(key_of(FIRST), b"")
    obj = only(store.source)
    assert obj.size == 0
    assert content_of(store.source, obj) == b""


def test_a_stream_may_be_closed_before_its_end(store: Store) -> None:
    store.put(key_of(FIRST), BIG)
    with store.source.open(only(store.source)) as stream:
        assert stream.read(3) == BIG[:3]
    assert stream.closed


def test_a_replaced_key_has_another_etag(store: Store) -> None:
    store.put(key_of(FIRST), b"before")
    old = only(store.source)
    store.put(key_of(FIRST), b"afterwards")
    new = only(store.source)
    assert old.key == new.key
    assert old.etag != new.etag
    with pytest.raises(ChangedObject, match="it was replaced after it was listed; the next run lists again") as caught:
        store.source.open(old)
    assert caught.value.key == old.key
    assert content_of(store.source, new) == b"afterwards"


def test_an_object_that_is_gone_concerns_that_object_alone(store: Store) -> None:
    store.put(key_of(FIRST))
    obj = only(store.source)
    store.delete(obj.key)
    with pytest.raises(ObjectError, match="it was deleted after it was listed; the next run lists again") as caught:
        store.source.open(obj)
    assert caught.value.key == obj.key


def test_readers_may_share_a_source(store: Store) -> None:
    contents = {key_of(FIRST, str(number)): bytes([number]) * 1000 for number in range(12)}
    for key, content in contents.items():
        store.put(key, content)
    with ThreadPoolExecutor(4) as readers:
        read = readers.map(lambda obj: (obj.key, content_of(store.source, obj)), store.source.list("fan_profiles"))
        assert dict(read) == contents

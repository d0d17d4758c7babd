"""Which source a URL names."""

from __future__ import annotations

from pathlib import Path

import pytest

from compactor.errors import UsageError
from compactor.source import open_source
from tests.support.s3_server import Bucket
from tests.support.sources import FIRST, Config, FolderStore, content_of, key_of, listed, only


@pytest.mark.parametrize("url", ["{root}", "{root}/", "file://{root}", "file://{root}/", "file://localhost{root}"])
def test_a_folder_is_named_by_path_or_url(tmp_path: Path, url: str) -> None:
    FolderStore(tmp_path / "a folder").put(key_of(FIRST))
    root = tmp_path / ("a%20folder" if url.startswith("file:") else "a folder")
    assert listed(open_source(Config(url.format(root=root)))) == [key_of(FIRST)]


@pytest.mark.parametrize("path", ["a/b", "a/b/", "/a/b//"])
def test_slashes_around_a_prefix_make_no_difference(bucket: Bucket, path: str) -> None:
    bucket.put("a/b/" + key_of(FIRST), b"x")
    source = open_source(Config(f"s3://{bucket.name}/{path}", endpoint=bucket.endpoint))
    assert source.url == f"s3://{bucket.name}/a/b"
    assert content_of(source, only(source)) == b"x"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("gs://bucket", "is not supported; use s3://bucket/prefix or a folder's path"),
        ("s3:///prefix", "names no bucket; write it as s3://bucket/prefix"),
        ("file://elsewhere/folder", "names a folder on another machine; write it as file:///path"),
    ],
)
def test_a_url_that_names_no_source_is_wrong_usage(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        open_source(Config(url))

"""The servers of the measurements answer as S3 does, as far as the program asks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
import pyarrow.fs
import pytest
from botocore.exceptions import ClientError

from tests.support.memory_s3 import memory_s3, requests
from tests.support.slow_s3 import slow_hop

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@contextmanager
def hop_url(server: str, delay: float) -> Iterator[str]:
    with slow_hop(server, delay) as hop:
        yield hop.url


@pytest.fixture(params=["in memory", "a hop before moto"])
def url(request: pytest.FixtureRequest, moto_server: str, aws_environment: None) -> Iterator[str]:
    with memory_s3(0) if request.param == "in memory" else hop_url(moto_server, 0) as found:
        yield found


@pytest.fixture
def client(url: str) -> Iterator[S3Client]:
    client = boto3.session.Session().client("s3", endpoint_url=url)
    client.create_bucket(Bucket="slow-bucket")
    yield client
    client.close()


def test_objects_are_kept_listed_ranged_and_deleted(client: S3Client) -> None:
    for number in range(30):
        client.put_object(Bucket="slow-bucket", Key=f"in/{number % 3}/ä {number}", Body=b"content %d" % number)
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket="slow-bucket", Prefix="in/", StartAfter="in/1", PaginationConfig={"PageSize": 7}
    )
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    assert keys == sorted(f"in/{number % 3}/ä {number}" for number in range(30) if number % 3)
    folders = client.list_objects_v2(Bucket="slow-bucket", Prefix="in/", Delimiter="/")
    assert [found["Prefix"] for found in folders["CommonPrefixes"]] == ["in/0/", "in/1/", "in/2/"]
    key = "in/1/ä 4"
    part = client.get_object(Bucket="slow-bucket", Key=key, Range="bytes=3-5")
    assert part["Body"].read() == b"ten"
    assert client.head_object(Bucket="slow-bucket", Key=key)["ETag"] == part["ETag"]
    client.delete_object(Bucket="slow-bucket", Key=key)
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket="slow-bucket", Key=key)


@pytest.mark.parametrize("size", [0, 1000, 30_000_000])
def test_files_of_arrow_come_back_whole(url: str, client: S3Client, size: int) -> None:
    """The larger of them in several parts."""
    system = pyarrow.fs.S3FileSystem(endpoint_override=url, region="us-east-1", allow_delayed_open=True)
    content = bytes(range(256)) * (size // 256)
    with system.open_output_stream("slow-bucket/file") as stream:
        for start in range(0, len(content), 1 << 20):
            stream.write(content[start : start + (1 << 20)])
    with system.open_input_file("slow-bucket/file") as file:
        assert file.size() == len(content)
        assert file.read() == content


def test_requests_are_counted_by_method(moto_server: str, aws_environment: None) -> None:
    with memory_s3(0.001) as memory, slow_hop(moto_server, 0.001) as hop:
        for url in (memory, hop.url):
            client = boto3.session.Session().client("s3", endpoint_url=url)
            client.create_bucket(Bucket="counted-bucket")
            with ThreadPoolExecutor(10) as pool:
                for number in range(10):
                    pool.submit(client.put_object, Bucket="counted-bucket", Key=str(number), Body=b"x")
            assert len(client.list_objects_v2(Bucket="counted-bucket")["Contents"]) >= 10
            client.close()
        assert requests(memory) == {"PUT": 11, "LIST": 1}
        assert hop.requests == {"PUT": 11, "GET": 1}

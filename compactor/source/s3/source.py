"""A source in an S3 bucket."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from tenacity import wait_random_exponential
from tenacity.wait import WaitBaseT

from compactor.errors import ObjectError, UsageError
from compactor.request_counts import RequestCounter
from compactor.source.base import (
    EXPORTS,
    MOST_FOLDERS,
    Hour,
    IgnoredKeys,
    SourceConfig,
    SourceObject,
    key_window,
    replaced_object,
    source_object,
)
from compactor.source.s3 import failures
from compactor.source.s3.body import ResumingBody
from compactor.source.s3.client import s3_client

if TYPE_CHECKING:
    import builtins

    from botocore.response import StreamingBody
    from mypy_boto3_s3.type_defs import (
        GetObjectRequestTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectsV2RequestPaginateTypeDef,
    )

_BUFFER_BYTES = 256 * 1024
_WAIT = wait_random_exponential(multiplier=0.2, max=20)  # seconds


class S3Source:
    """Exports in a bucket, below an optional prefix. See `Source` for the methods."""

    def __init__(self, config: SourceConfig, *, wait: WaitBaseT = _WAIT) -> None:
        """Sets up the client. Sends no request to the bucket yet.

        `wait` gives the seconds to wait before a broken body is resumed. Raises UsageError for a URL without a bucket,
        and SourceError if the client cannot be set up.
        """
        self._bucket, self._prefix = _bucket_and_prefix(config.url)
        self.url = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        self._config = config
        self._wait = wait
        try:
            self._client = s3_client(config)
        except (*failures.SDK_ERRORS, ValueError) as error:  # ValueError: the endpoint is not a URL
            raise failures.of_listing(self.url, self._bucket, error, config.role_arn) from error
        self.requests = RequestCounter()
        sent = self._client.meta.events  # each attempt, also one that is sent again
        sent.register("before-send.s3.ListObjectsV2", lambda **_: self.requests.add("list"))
        sent.register("before-send.s3.GetObject", lambda **_: self.requests.add("get"))

    def datasets(self) -> builtins.list[str]:
        names = (
            folder["Prefix"].removeprefix(self._prefix + EXPORTS).rstrip("/")
            for page in self._pages({"Bucket": self._bucket, "Prefix": self._prefix + EXPORTS, "Delimiter": "/"})
            for folder in page.get("CommonPrefixes", [])
        )
        return sorted(name for name in names if name)  # "exports//" is a folder without a name

    def has_exports(self) -> bool:
        first = self._pages(
            {
                "Bucket": self._bucket,
                "Prefix": self._prefix + EXPORTS,
                "PaginationConfig": {"MaxItems": 1, "PageSize": 1},
            }
        )
        return any(page.get("Contents") for page in first)

    def folders(self) -> builtins.list[str]:
        pages = self._pages({"Bucket": self._bucket, "Prefix": self._prefix, "Delimiter": "/"})
        found = [folder["Prefix"] for page in islice(pages, 1) for folder in page.get("CommonPrefixes", [])]
        return [name.removeprefix(self._prefix).removesuffix("/") for name in found[:MOST_FOLDERS]]

    def list(
        self,
        dataset: str,
        start: Hour | None = None,
        stop: Hour | None = None,
        ignored: IgnoredKeys | None = None,
    ) -> Iterator[SourceObject]:
        after, before = key_window(dataset, start, stop)
        if after >= before:
            return
        folder = f"{self._prefix}{EXPORTS}{dataset}/"
        for page in self._pages({"Bucket": self._bucket, "Prefix": folder, "StartAfter": self._prefix + after}):
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(self._prefix)
                if key >= before:
                    return
                obj = source_object(key, item["ETag"].strip('"'), item["Size"])
                if obj is not None:
                    yield obj
                elif ignored is not None:
                    ignored.add(key)

    def open(self, obj: SourceObject) -> BinaryIO:
        body = ResumingBody(
            self._object_url(obj.key),
            obj.key,
            lambda offset: self._get(obj, offset),
            size=obj.size,
            max_attempts=self._config.max_attempts,
            wait=self._wait,
        )
        return io.BufferedReader(body, _BUFFER_BYTES)

    def _object_url(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._prefix}{key}"

    def _pages(self, request: ListObjectsV2RequestPaginateTypeDef) -> Iterator[ListObjectsV2OutputTypeDef]:
        """Yields the pages of one listing, and requests each when it is needed. Raises SourceError."""
        try:
            yield from self._client.get_paginator("list_objects_v2").paginate(**request)
        except failures.SDK_ERRORS as error:
            raise failures.of_listing(self.url, self._bucket, error, self._config.role_arn) from error

    def _get(self, obj: SourceObject, offset: int) -> StreamingBody:
        """The listed content of the object from a byte offset on."""
        url = self._object_url(obj.key)
        request: GetObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": self._prefix + obj.key,
            "IfMatch": f'"{obj.etag}"',
        }
        if offset:
            request["Range"] = f"bytes={offset}-"
        try:
            response = self._client.get_object(**request)
        except failures.SDK_ERRORS as error:
            raise failures.of_reading(url, obj.key, error, self._config.role_arn) from error
        body = response["Body"]
        # Some services with the S3 API ignore If-Match or Range. Without this check, two contents could be mixed.
        if response.get("ETag", "").strip('"') != obj.etag:
            body.close()
            raise replaced_object(url, obj.key)
        if offset and not response.get("ContentRange", "").startswith(f"bytes {offset}-"):
            body.close()
            raise ObjectError(
                obj.key, f"cannot read {url}: the connection broke, and the service cannot resume; run again later"
            )
        return body


def _bucket_and_prefix(url: str) -> tuple[str, str]:
    """("bucket", "a/b/") of "s3://bucket/a/b": the prefix is empty, or ends with its "/"."""
    bucket, _, path = url.removeprefix("s3://").partition("/")
    if not bucket:
        raise UsageError(f"source.url '{url}' names no bucket; write it as s3://bucket/prefix")
    prefix = path.strip("/")
    return bucket, f"{prefix}/" if prefix else ""

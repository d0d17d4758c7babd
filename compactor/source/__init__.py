"""Reads exports from a local folder or an S3 bucket, through one interface.

Only this package reads objects of S3. It turns errors of the AWS SDK into those of `compactor.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compactor.errors import UsageError
from compactor.source.base import (
    ETAG_MARK,
    EXPORTS,
    Hour,
    IgnoredKeys,
    Source,
    SourceConfig,
    SourceObject,
    key_window,
    same_etag_sql,
)

if TYPE_CHECKING:
    from compactor.source.s3 import Credentials

__all__ = [
    "ETAG_MARK",
    "EXPORTS",
    "Hour",
    "IgnoredKeys",
    "Source",
    "SourceConfig",
    "SourceObject",
    "aws_credentials",
    "key_window",
    "open_source",
    "same_etag_sql",
]


def open_source(config: SourceConfig) -> Source:
    """The source that `config.url` names: `s3://bucket/prefix`, a folder's path, or a `file://` URL.

    Nothing is read yet. Raises UsageError for another kind of URL, and SourceError if the S3 client cannot be set up.
    """
    scheme, separator, _ = config.url.partition("://")
    if separator and scheme == "s3":
        # The SDK is slow to import, and a folder does not need it.
        from compactor.source.s3 import S3Source

        return S3Source(config)
    if not separator or scheme == "file":
        from compactor.source.folder import LocalSource

        return LocalSource(config.url)
    raise UsageError(f"source.url '{config.url}' is not supported; use s3://bucket/prefix or a folder's path")


def aws_credentials() -> Credentials | None:
    """The AWS credentials of the environment; see `compactor.source.s3.credentials`."""
    from compactor.source.s3 import credentials

    return credentials()

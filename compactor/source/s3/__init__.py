"""The part of the program that knows the AWS SDK, and the only one.

source      lists a bucket and opens its objects
body        goes on reading where a connection broke off
client      credentials, an assumed role, timeouts, retries
failures    turns the SDK's errors into those of the program
"""

from __future__ import annotations

from compactor.source.s3.client import Credentials, credentials
from compactor.source.s3.source import S3Source

__all__ = ["Credentials", "S3Source", "credentials"]

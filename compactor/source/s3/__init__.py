"""A source in an S3 bucket.

source      lists a bucket and opens its objects
body        resumes reading after a connection broke
client      credentials, an assumed role, timeouts, retries
failures    turns the SDK's errors into those of the program
"""

from __future__ import annotations

from compactor.source.s3.client import Credentials, credentials
from compactor.source.s3.source import S3Source

__all__ = ["Credentials", "S3Source", "credentials"]

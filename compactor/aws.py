"""What a failure of AWS beneath PyIceberg means, in words: for the catalog and the tables' storage."""

from __future__ import annotations

import re

_S3_ACTIONS = {
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
}
"""The right behind a request of Arrow's S3 client; all others write, and need s3:PutObject."""


def aws_reason(error: Exception) -> str | None:
    """What an error of the AWS SDKs means and what to do, in words without record content; None for any other error.

    boto3, which asks Glue, is told by its module's name, because this module must not import it; Arrow's own S3
    client by its text.
    """
    if isinstance(error, OSError):
        found = re.search(r"AWS Error (\w+) during (\w+) operation", str(error))
        if found and found[1] == "ACCESS_DENIED":
            return f"access denied; grant {_S3_ACTIONS.get(found[2], 's3:PutObject')} on the tables' bucket"
        return f"S3 answered {found[1]} to {found[2]}; check catalog.properties and the network" if found else None
    if not type(error).__module__.startswith("botocore."):
        return None
    operation: str | None = getattr(error, "operation_name", None)
    if operation is None:
        return f"AWS was not asked ({type(error).__name__}); check the credentials, the region and the network"
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if code == "AccessDeniedException":
        return f"access denied; grant glue:{operation} on the catalog, the database and its tables"
    return f"Glue answered {code} to {operation}; check the credentials, or run again later"

"""Creates views in Athena: starts each statement, waits for its end, and reports a failure in one sentence.

This module and `source.s3` are the only ones that use the AWS SDK.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3
import tenacity
from botocore.config import Config as ClientConfig
from botocore.exceptions import BotoCoreError, ClientError

from compactor.errors import CompactorError, UsageError
from compactor.reports.views import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_athena.type_defs import QueryExecutionTypeDef

_TIMEOUT_SECONDS = 300
_UNFINISHED = ("QUEUED", "RUNNING")
_KEYS = {"client.access-key-id": "aws_access_key_id", "client.secret-access-key": "aws_secret_access_key"} | {
    "client.session-token": "aws_session_token",
    "client.profile-name": "profile_name",
    "client.region": "region_name",
}


def connect(
    properties: Mapping[str, str], namespace: str, workgroup: str | None, output: str | None
) -> Callable[[View], None]:
    """Returns the function that creates a view in Athena.

    Args:
        properties: of the catalog. Its region and key are used; what it lacks comes from the environment.
        namespace: the database.
        workgroup: default `primary`.
        output: folder for Athena's results, as s3://bucket/prefix/. Default: that of the workgroup.

    Raises:
        UsageError: `output` is not such a folder.
        CompactorError: there are no usable credentials.
    """
    if output and not output.startswith("s3://"):
        raise UsageError(f"--output '{output}' should be a folder for Athena's results, as s3://bucket/prefix/")
    try:
        options: dict[str, Any] = {option: properties[name] for name, option in _KEYS.items() if properties.get(name)}
        session = boto3.session.Session(**options)
        client = session.client("athena", config=ClientConfig(retries={"mode": "standard", "max_attempts": 8}))
    except BotoCoreError as error:
        raise _unreachable(error) from error
    return lambda view: _create(client, view, namespace, workgroup or "primary", output)


def _create(client: AthenaClient, view: View, namespace: str, workgroup: str, output: str | None) -> None:
    results = {"ResultConfiguration": {"OutputLocation": output}} if output else {}
    try:
        started = client.start_query_execution(
            QueryString=view.create,
            QueryExecutionContext={"Database": namespace},
            WorkGroup=workgroup,
            **results,  # type: ignore[arg-type]
        )
        ended = _ended(client, started["QueryExecutionId"])
    except ClientError as error:
        raise _refused(error, view.name, workgroup) from error
    except BotoCoreError as error:
        raise _unreachable(error) from error
    except tenacity.RetryError as error:
        raise CompactorError(
            f"view '{view.name}': Athena has not finished in {_TIMEOUT_SECONDS} seconds; look for query"
            f" {started['QueryExecutionId']} in workgroup {workgroup}, then run again"
        ) from error
    if ended["Status"]["State"] != "SUCCEEDED":
        raise CompactorError(f"view '{view.name}': {why_failed(ended['Status'].get('StateChangeReason', ''))}")


@tenacity.retry(
    retry=tenacity.retry_if_result(lambda found: found["Status"]["State"] in _UNFINISHED),
    wait=tenacity.wait_exponential(multiplier=0.1, max=3),
    stop=tenacity.stop_after_delay(_TIMEOUT_SECONDS),
)
def _ended(client: AthenaClient, query: str) -> QueryExecutionTypeDef:
    return client.get_query_execution(QueryExecutionId=query)["QueryExecution"]


def why_failed(reason: str) -> str:
    """The reason of a failed statement. If a permission was missing, the sentence names it."""
    if right := re.search(r"not authorized to perform: ([\w-]+:\w+)", reason):
        return f"access denied; grant {right[1]} to the identity that runs this"
    if "Access Denied" in reason or "AccessDenied" in reason:
        return "access denied; grant s3:PutObject and s3:GetBucketLocation on the bucket of Athena's results"
    return f"Athena refused it: {reason or 'without a reason'}; correct that, then run again"


def _refused(error: ClientError, name: str, workgroup: str) -> CompactorError:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in ("AccessDeniedException", "AccessDenied"):
        right = f"athena:{error.operation_name} on workgroup {workgroup}"
        return CompactorError(f"view '{name}': access denied; grant {right}")
    if "output location" in message.lower():
        return UsageError(f"view '{name}': the workgroup {workgroup} has no output location; set one with --output")
    if "workgroup" in message.lower():
        return UsageError(f"view '{name}': there is no workgroup {workgroup}; name yours with --workgroup")
    return CompactorError(f"view '{name}': Athena answered {code} to {error.operation_name}; run again later")


def _unreachable(error: BotoCoreError) -> CompactorError:
    return CompactorError(
        f"the request to Athena failed ({type(error).__name__}); check the credentials, client.region and the network"
    )

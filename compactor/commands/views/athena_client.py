"""Runs statements in Athena: starts each, waits for its end, and says in a sentence what is missing if it fails.

Beside `source.s3` the only module that knows the AWS SDK: PyIceberg speaks to Glue, but nothing else here to Athena.
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
from compactor.reports.report import View

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_athena.type_defs import QueryExecutionTypeDef

_PATIENCE_SECONDS = 300
_UNDER_WAY = ("QUEUED", "RUNNING")
_KEYS = {"client.access-key-id": "aws_access_key_id", "client.secret-access-key": "aws_secret_access_key"} | {
    "client.session-token": "aws_session_token",
    "client.profile-name": "profile_name",
    "client.region": "region_name",
}


def connect(
    properties: Mapping[str, str], namespace: str, workgroup: str | None, output: str | None
) -> Callable[[View], None]:
    """What makes a view in Athena, with the region and the key of the catalog's properties, else the environment's.

    `workgroup` None is `primary`; `output` None leaves the place of results to the workgroup.
    """
    if output and not output.startswith("s3://"):
        raise UsageError(f"--output '{output}' should be a folder for Athena's results, as s3://bucket/prefix/")
    try:
        options: dict[str, Any] = {theirs: properties[ours] for ours, theirs in _KEYS.items() if properties.get(ours)}
        session = boto3.session.Session(**options)
        client = session.client("athena", config=ClientConfig(retries={"mode": "standard", "max_attempts": 8}))
    except BotoCoreError as error:
        raise _unreachable(error) from error
    return lambda view: _make(client, view, namespace, workgroup or "primary", output)


def _make(client: AthenaClient, view: View, namespace: str, workgroup: str, output: str | None) -> None:
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
            f"view '{view.name}': Athena has not answered in {_PATIENCE_SECONDS} seconds; look for query"
            f" {started['QueryExecutionId']} in workgroup {workgroup}, then run again"
        ) from error
    if ended["Status"]["State"] != "SUCCEEDED":
        raise CompactorError(f"view '{view.name}': {why_failed(ended['Status'].get('StateChangeReason', ''))}")


@tenacity.retry(
    retry=tenacity.retry_if_result(lambda found: found["Status"]["State"] in _UNDER_WAY),
    wait=tenacity.wait_exponential(multiplier=0.1, max=3),
    stop=tenacity.stop_after_delay(_PATIENCE_SECONDS),
)
def _ended(client: AthenaClient, query: str) -> QueryExecutionTypeDef:
    return client.get_query_execution(QueryExecutionId=query)["QueryExecution"]


def why_failed(reason: str) -> str:
    """Why a statement failed, with the right that Athena names where it was one."""
    if right := re.search(r"not authorized to perform: ([\w-]+:\w+)", reason):
        return f"access denied; grant {right[1]} to who runs this"
    if "Access Denied" in reason or "AccessDenied" in reason:
        return "access denied; grant s3:PutObject and s3:GetBucketLocation on the bucket of Athena's results"
    return f"Athena refused it: {reason or 'without a reason'}; mend what it names, then run again"


def _refused(error: ClientError, name: str, workgroup: str) -> CompactorError:
    code, message = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "")
    if code in ("AccessDeniedException", "AccessDenied"):
        right = f"athena:{error.operation_name} on workgroup {workgroup}"
        return CompactorError(f"view '{name}': access denied; grant {right}")
    if "output location" in message.lower():
        return UsageError(f"view '{name}': the workgroup {workgroup} has no place for results; name one with --output")
    if "workgroup" in message.lower():
        return UsageError(f"view '{name}': there is no workgroup {workgroup} here; name yours with --workgroup")
    return CompactorError(f"view '{name}': Athena answered {code} to {error.operation_name}; run again later")


def _unreachable(error: BotoCoreError) -> CompactorError:
    return CompactorError(
        f"Athena was not asked ({type(error).__name__}); check the credentials, client.region and the network"
    )

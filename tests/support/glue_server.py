"""An AWS in this process: moto's server over HTTP, with Glue's optimistic lock enforced and all requests recorded.

moto 5.2.5 takes no notice of UpdateTable's `VersionId`: a race between two commits would lose one of them in a test
where AWS refuses it. Here a stale version is refused, whether or not old versions are archived (`SkipArchive`), and
calls that change Glue come one at a time.

Fixture: `aws_server`, one server for all tests.
"""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from moto.glue.exceptions import GlueClientError
from moto.glue.responses import GlueResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

ACCOUNT = "123456789012"  # moto's
GLUE = f"arn:aws:glue:us-east-1:{ACCOUNT}:"
OWNER = "owner-of-the-buckets"
"""The access key of who makes and fills the buckets. What it does is not recorded."""
Statement = Mapping[str, Any]

_REFUSALS = {
    "s3": b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    "glue": b'{"__type": "AccessDeniedException", "Message": "User is not authorized"}',
    "athena": b'{"__type": "AccessDeniedException", "Message": "User is not authorized"}',
}
_CHANGING = ("create_database", "create_table", "delete_table", "update_table")


@dataclass(frozen=True)
class Call:
    """A request as IAM judges it: an action on a resource, and of a listing the prefix that it asks for.

    `signer` is the access key that it was signed with.
    """

    action: str
    resource: str
    signer: str
    prefix: str | None = None

    def is_allowed_by(self, statements: Iterable[Statement]) -> bool:
        """Whether a statement allows it. Knows `*`, and of conditions `StringLike` on `s3:prefix` alone."""
        return any(self._fits(statement) for statement in statements)

    def _fits(self, statement: Statement) -> bool:
        conditions = statement.get("Condition", {"StringLike": {}})
        assert statement["Effect"] == "Allow"
        assert conditions.keys() == {"StringLike"}
        assert conditions["StringLike"].keys() <= {"s3:prefix"}
        prefixes = conditions["StringLike"].get("s3:prefix")
        return (
            _matches(self.action, statement["Action"])
            and _matches(self.resource, statement["Resource"])
            and (prefixes is None or (self.prefix is not None and _matches(self.prefix, prefixes)))
        )


def _matches(text: str, patterns: str | list[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in ([patterns] if isinstance(patterns, str) else patterns))


class AwsServer:
    """S3, Glue and all else that moto has, at `url`, for OWNER and others.

    `calls` are those of the others to S3, Glue and Athena; an action or a signer in `denied` is refused.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.denied: set[str] = set()
        self._meeting: tuple[str, threading.Barrier] | None = None
        self._app = DomainDispatcherApplication(create_backend_app)
        self._http = make_server("127.0.0.1", 0, self._handle, threaded=True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()

    @contextmanager
    def meeting(self, table: str) -> Iterator[None]:
        """Holds the next UpdateTable of `database/table` until there are two of them, then lets both through."""
        self._meeting = (table, threading.Barrier(2, self._part))
        yield
        self._part()

    def _part(self) -> None:
        self._meeting = None

    def _handle(self, environ: dict[str, Any], start_response: Any) -> Any:
        found = re.search(r"Credential=([^/]+)/\d+/[^/]+/(s3|glue|athena)/", environ.get("HTTP_AUTHORIZATION", ""))
        if found and found[1] != OWNER:
            calls = list(_OF[found[2]](environ, found[1]))
            self.calls += calls
            if any(self.denied & {call.action, call.signer} for call in calls):
                start_response("403 Forbidden", [("Content-Type", "text/plain")])
                return [_REFUSALS[found[2]]]
            self._hold(calls[-1])
        return self._app(environ, start_response)

    def _hold(self, call: Call) -> None:
        meeting = self._meeting
        if meeting and call.action == "glue:UpdateTable" and call.resource.endswith(f":table/{meeting[0]}"):
            with suppress(threading.BrokenBarrierError):  # nobody came: the test will fail
                meeting[1].wait(timeout=120)


def _of_glue(environ: dict[str, Any], signer: str) -> Iterator[Call]:
    """Glue wants the action allowed on the catalog, on the database and on the table."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    action, parameters = environ["HTTP_X_AMZ_TARGET"].removeprefix("AWSGlue."), json.loads(body)
    database = parameters.get("DatabaseName") or parameters.get("Name") or parameters["DatabaseInput"]["Name"]
    resources = ["catalog", f"database/{database}"]
    if action.endswith("Table"):
        table = parameters.get("Name") or parameters["TableInput"]["Name"]
        resources.append(f"table/{database}/{table}")
    for resource in resources:
        yield Call(f"glue:{action}", GLUE + resource, signer)


def _of_athena(environ: dict[str, Any], signer: str) -> Iterator[Call]:
    """Only Athena knows the workgroup of a query, so the start of one alone names it."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = io.BytesIO(body)
    workgroup = json.loads(body).get("WorkGroup", "*")
    resource = f"arn:aws:athena:us-east-1:{ACCOUNT}:workgroup/{workgroup}"
    yield Call(f"athena:{environ['HTTP_X_AMZ_TARGET'].removeprefix('AmazonAthena.')}", resource, signer)


def _of_s3(environ: Mapping[str, Any], signer: str) -> Iterator[Call]:
    path, _, query = environ["RAW_URI"].partition("?")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    method, parameters = environ["REQUEST_METHOD"], parse_qs(query, keep_blank_values=True)
    assert "HTTP_X_AMZ_COPY_SOURCE" not in environ
    if not key:
        assert method in ("GET", "HEAD")
        yield Call("s3:ListBucket", f"arn:aws:s3:::{bucket}", signer, parameters.get("prefix", [None])[0])
        return
    of_object = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject"}
    deletes = "AbortMultipartUpload" if "uploadId" in parameters else "DeleteObject"
    yield Call(f"s3:{of_object.get(method, deletes)}", f"arn:aws:s3:::{bucket}/{key}", signer)


_OF = {"s3": _of_s3, "glue": _of_glue, "athena": _of_athena}


class ConcurrentModificationException(GlueClientError):
    """The table is no longer at the version that the caller has seen."""

    def __init__(self) -> None:
        super().__init__("ConcurrentModificationException", "Update table failed due to concurrent modifications.")


@contextmanager
def versions_enforced() -> Iterator[None]:
    """Makes moto's Glue refuse an UpdateTable whose VersionId is not the table's."""
    update_table, lock = GlueResponse.update_table, threading.Lock()

    def update_if_current(self: GlueResponse) -> Any:
        expected = self.parameters.get("VersionId")
        table = self.glue_backend.get_table(self.parameters["DatabaseName"], self.parameters["TableInput"]["Name"])
        if expected is not None and expected != table.as_dict()["VersionId"]:
            raise ConcurrentModificationException
        return update_table(self)

    def alone(call: Callable[[GlueResponse], Any]) -> Callable[[GlueResponse], Any]:
        def locked(self: GlueResponse) -> Any:
            with lock:
                return call(self)

        return locked

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GlueResponse, "update_table", update_if_current)
        for name in _CHANGING:
            patch.setattr(GlueResponse, name, alone(getattr(GlueResponse, name)))
        yield


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    requests = logging.getLogger("werkzeug")
    level = requests.level
    requests.setLevel(logging.WARNING)  # thousands of requests, all in `calls`
    with versions_enforced():
        server = AwsServer()
        yield server
        server.stop()
    requests.setLevel(level)

"""An S3 server in this process, and a network hop before it that can be made to fail.

Fixtures:

    moto_server        the server's URL; one server for all tests
    aws_environment    keys that the server takes, and nothing of the machine's own AWS set-up
    bucket             an empty bucket
    hop                a `Hop` before the server
    no_backoff         the SDK does not wait before it sends a request again
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.loaders
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_FRAMING = {"content-length", "transfer-encoding", "expect"}
_OF_ONE_HOP = {"connection", "content-length", "transfer-encoding"}
_bucket_numbers = itertools.count(1)
_shared_loader = lru_cache(botocore.loaders.create_loader)


@dataclass(frozen=True)
class Bucket:
    """A bucket of the server, and a client to fill it with."""

    name: str
    endpoint: str
    client: S3Client

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content)


@dataclass(frozen=True)
class Request:
    """A request that passed the hop."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def lists(self) -> bool:
        return "list-type" in self.query

    @property
    def reads(self) -> bool:
        return self.method == "GET" and not self.lists


@dataclass(frozen=True)
class Answer:
    """An answer that the hop gives by itself."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def refusal(cls, status: int, code: str, message: str = "no") -> Answer:
        return cls(status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


@dataclass(frozen=True)
class Cut:
    """The server's answer, but only so many bytes of its body; then the connection ends as `how` says."""

    after: int
    how: Literal["close", "reset", "stall"] = "close"


Fault = Answer | Cut
Script = Callable[[Request], Fault | None]


class Hop:
    """A hop on the way to a server: keeps each request in `seen`, and does to its answer what `script` says."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.seen: list[Request] = []
        self.script: Script = lambda request: None
        self.over = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    @property
    def lists(self) -> list[Request]:
        return [request for request in self.seen if request.lists]

    @property
    def reads(self) -> list[Request]:
        return [request for request in self.seen if request.reads]

    def spoil_reads(self, *faults: Fault | None) -> None:
        """Spoil the next reads of objects, one fault for each; what comes after them goes well."""
        left = iter(faults)
        self.script = lambda request: next(left, None) if request.reads else None

    def stop(self) -> None:
        self.over.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _handler(hop: Hop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # else a client that asks whether to send its body waits a second for the answer

        def _pass_on(self) -> None:
            url = urlsplit(self.path)
            body = self._body()
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _FRAMING}
            request = Request(self.command, url.path, parse_qs(url.query), headers, body)
            hop.seen.append(request)
            fault = hop.script(request)
            if isinstance(fault, Answer):
                self._answer(fault.status, [*fault.headers.items()], fault.body)
                return
            server = HTTPConnection(urlsplit(hop.server).netloc)
            server.request(self.command, self.path, body, headers)
            with server.getresponse() as response:
                passed_on = [pair for pair in response.getheaders() if pair[0].lower() not in _OF_ONE_HOP]
                length = response.getheader("Content-Length") if self.command == "HEAD" else None
                self._answer(response.status, passed_on, response.read(), fault, length)
            server.close()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _answer(
            self,
            status: int,
            headers: list[tuple[str, str]],
            body: bytes,
            cut: Cut | None = None,
            length: str | None = None,
        ) -> None:
            self.close_connection = True
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                body = b""
            with suppress(OSError):  # the client need not read it all
                self.wfile.write(body[: cut.after] if cut else body)
            if cut and cut.how == "stall":
                hop.over.wait()
            if cut and cut.how == "reset":
                # Closing a socket that does not linger sends a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                os.close(self.connection.detach())

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - the base class looks for these names

        def log_message(self, *args: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_aws_environment(monkeypatch)


def set_aws_environment(patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    settings = {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in settings.items():
        patch.setenv(name, value)
    # Else each new client parses the SDK's megabytes of JSON again, which takes longer than the test does.
    patch.setattr("botocore.session.create_loader", _shared_loader)


@pytest.fixture
def bucket(moto_server: str, aws_environment: None) -> Iterator[Bucket]:
    client = boto3.session.Session().client("s3", endpoint_url=moto_server)
    bucket = Bucket(f"exports-{next(_bucket_numbers)}", moto_server, client)
    client.create_bucket(Bucket=bucket.name)
    yield bucket
    client.close()


@pytest.fixture
def hop(moto_server: str) -> Iterator[Hop]:
    hop = Hop(moto_server)
    yield hop
    hop.stop()


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK does not wait before it sends a request again."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)

"""A small S3 in memory, in a process of its own, that answers each request after a delay.

    python -m tests.support.memory_s3 --delay 0.03       prints its URL; ends with its stdin

For measurements: it takes a tenth of a millisecond of a core for a request, where moto takes 3 to 6, so that a figure
is of the program and not of the server. It knows what the program sends: objects, ranges, lists, multipart uploads. It
checks no signature. What S3 really does is for moto's server to say (see `slow_s3`).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import urlopen
from xml.sax.saxutils import escape

_MOST_KEYS = 1000
_DATE = "Sun, 01 Nov 2026 00:00:00 GMT"
Reply = tuple[int, dict[str, str], bytes]


class MemoryS3:
    """All buckets are one: keys are "bucket/key"."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._objects: dict[str, bytes] = {}
        self._parts: dict[str, dict[int, bytes]] = {}
        self._numbers = itertools.count(1)
        self._requests: Counter[str] = Counter()
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

    def _accept(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._converse(client, answer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _converse(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await client.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                if "expect" in fields:
                    answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await _body(client, fields)
                extra: dict[str, str]
                if target == "/requests":
                    status, extra, content = 200, {}, json.dumps(self._requests).encode()
                else:
                    await asyncio.sleep(self._delay)
                    status, extra, content = self._answer(method, target, fields, body)
                extra = {"Content-Length": str(len(content)), **extra}
                lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
                answer.write(f"HTTP/1.1 {status} OK\r\n{lines}\r\n".encode())
                if method != "HEAD":
                    answer.write(content)
                await answer.drain()
        answer.close()

    def _answer(self, method: str, target: str, fields: dict[str, str], body: bytes) -> Reply:
        url = urlsplit(target)
        key, query = unquote(url.path).strip("/"), parse_qs(url.query, keep_blank_values=True)
        self._requests["LIST" if "list-type" in query else method] += 1
        if "list-type" in query:
            return self._list(key, query)
        if method == "POST" and "delete" in query:
            return 501, {}, b""
        if "uploads" in query or "uploadId" in query:
            return self._multipart(method, key, query, body)
        if method == "PUT":
            self._objects[key] = body
            return 200, {"ETag": _etag(body)}, b""
        if method == "DELETE":
            self._objects.pop(key, None)
            return 204, {}, b""
        return self._get(key, fields)

    def _get(self, key: str, fields: dict[str, str]) -> Reply:
        found = self._objects.get(key)
        if found is None:
            return 404, {}, b"<Error><Code>NoSuchKey</Code><Message>no</Message></Error>"
        of_object = {"ETag": _etag(found), "Last-Modified": _DATE, "Accept-Ranges": "bytes"}
        if "range" not in fields:
            return 200, of_object, found
        first, _, last = fields["range"].removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(found) - int(last))
        end = min(len(found), int(last) + 1) if first and last else len(found)
        return 206, {**of_object, "Content-Range": f"bytes {start}-{end - 1}/{len(found)}"}, found[start:end]

    def _multipart(self, method: str, key: str, query: dict[str, list[str]], body: bytes) -> Reply:
        if "uploads" in query:
            upload = str(next(self._numbers))
            self._parts[upload] = {}
            return 200, {}, _xml("InitiateMultipartUploadResult", f"<UploadId>{upload}</UploadId>")
        (upload,) = query["uploadId"]
        if method == "PUT":
            self._parts[upload][int(query["partNumber"][0])] = body
            return 200, {"ETag": _etag(body)}, b""
        parts = self._parts.pop(upload)
        if method == "POST":
            self._objects[key] = b"".join(parts[number] for number in sorted(parts))
        return 200, {}, _xml("CompleteMultipartUploadResult", f"<Key>{escape(key)}</Key>")

    def _list(self, bucket: str, query: dict[str, list[str]]) -> Reply:
        prefix = query.get("prefix", [""])[0]
        after = max(query.get("start-after", [""])[0], query.get("continuation-token", [""])[0])
        delimiter, most = query.get("delimiter", [""])[0], int(query.get("max-keys", [str(_MOST_KEYS)])[0])
        keys: list[str] = []
        folders, last = dict[str, None](), ""
        inside = sorted(key.removeprefix(f"{bucket}/") for key in self._objects if key.startswith(f"{bucket}/{prefix}"))
        for key in (each for each in inside if each > after):
            if len(keys) + len(folders) >= most:
                break
            last = key
            folder, _, rest = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            if rest:
                folders[f"{prefix}{folder}{delimiter}"] = None
            else:
                keys.append(key)
        else:
            last = ""
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><ETag>{_etag(found)}</ETag><Size>{len(found)}</Size>"
            "<LastModified>2026-11-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key, found in ((key, self._objects[f"{bucket}/{key}"]) for key in keys)
        )
        contents += "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in folders)
        more = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if last else ""
        truncated = "true" if last else "false"
        return 200, {}, _xml("ListBucketResult", f"<IsTruncated>{truncated}</IsTruncated>{more}{contents}")


async def _body(client: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if "chunked" not in fields.get("transfer-encoding", ""):
        body = await client.readexactly(int(fields.get("content-length", 0)))
    else:
        chunks = []
        while size := int(await client.readuntil(b"\r\n"), 16):
            chunks.append((await client.readexactly(size + 2))[:-2])
        while await client.readuntil(b"\r\n") != b"\r\n":  # trailers
            pass
        body = b"".join(chunks)
    if "aws-chunked" not in fields.get("content-encoding", ""):
        return body
    decoded = b""
    while True:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not size:
            return decoded
        decoded, body = decoded + body[:size], body[size + 2 :]


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def _xml(name: str, inner: str) -> bytes:
    return f'<?xml version="1.0"?><{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</{name}>'.encode()


@contextmanager
def memory_s3(delay: float) -> Iterator[str]:
    """Runs one in a process of its own. Gives its URL."""
    command = [sys.executable, __file__, "--delay", str(delay)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


def requests(url: str) -> dict[str, int]:
    """How many requests one has answered, by method; a list is no GET."""
    with urlopen(f"{url}/requests") as answer:
        found: dict[str, int] = json.load(answer)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.03, help="seconds for each request")
    asyncio.run(MemoryS3(parser.parse_args().delay).serve())


if __name__ == "__main__":
    main()

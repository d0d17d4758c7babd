"""A hop before an HTTP server that answers each request later, as a distant storage does.

    python -m tests.support.slow_s3 --delay 0.03             moto's server behind such a hop; prints the hop's URL
    python -m tests.support.slow_s3 --delay 0.03 --to URL    a hop before a server that runs already

The server behind it is a process of its own. The hop holds each request for the delay, and as many at a time as there
are connections. It keeps connections alive, to the client and to the server, and counts requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

_READ_BYTES = 256 << 10


class SlowHop:
    """A hop in a thread of this process. `requests` counts them by method."""

    def __init__(self, server: str, delay: float) -> None:
        """Starts it.

        Args:
            server: the URL to pass requests on to.
            delay: seconds that each request waits before it is passed on.
        """
        parts = urlsplit(server)
        assert parts.hostname
        self._server = (parts.hostname, parts.port or 80)
        self._delay = delay
        self.requests: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        listening = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024))
        self.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        self._listening = listening
        self._serving: set[asyncio.Task[None]] = set()  # the loop's own references are weak
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        async def end() -> None:
            self._listening.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _accept(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(client, answer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """One connection of a client, and one of its own to the server."""
        server, question = await asyncio.open_connection(*self._server)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await _head(client):
                method = head.split(b" ", 1)[0].decode()
                self.requests[method] += 1
                await asyncio.sleep(self._delay)
                question.write(head)
                if _field(head, b"expect"):  # the client holds its body back until it is asked for
                    answer.write(await _head(server))
                await _pass_body(client, question, head)
                reply = await _head(server)
                answer.write(reply)
                if method != "HEAD" and reply.split(b" ")[1] not in (b"204", b"304"):
                    await _pass_body(server, answer, reply, to_end=True)
                await answer.drain()
                if (_field(reply, b"connection") or b"").lower() == b"close":
                    break
        for writer in (answer, question):
            writer.close()


async def _head(stream: asyncio.StreamReader) -> bytes:
    """The next request or answer up to its body; empty at the end of the connection."""
    try:
        return await stream.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def _field(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.lower() == name:
            return value.strip()
    return None


async def _pass_body(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, head: bytes, *, to_end: bool = False
) -> None:
    if (_field(head, b"transfer-encoding") or b"").lower() == b"chunked":
        size = 1
        while size:
            line = await source.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            target.write(line + await source.readexactly(size + 2))
            await target.drain()
        return
    length = _field(head, b"content-length")
    left = int(length) if length else sys.maxsize if to_end else 0
    while left and (piece := await source.read(min(left, _READ_BYTES))):
        target.write(piece)
        await target.drain()
        left -= len(piece)


@contextmanager
def moto_process() -> Iterator[str]:
    """Moto's server in a process of its own. Gives its URL."""
    code = (
        "from moto.server import ThreadedMotoServer as Server; import sys, threading;"
        "server = Server('127.0.0.1', port=0, verbose=False); server.start();"
        "print('http://%s:%d' % server.get_host_and_port(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.terminate()


@contextmanager
def slow_hop(server: str, delay: float) -> Iterator[SlowHop]:
    hop = SlowHop(server, delay)
    try:
        yield hop
    finally:
        hop.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.03, help="seconds for each request")
    parser.add_argument("--to", metavar="URL", help="a server that runs already; default: moto's, started here")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        server = arguments.to or stack.enter_context(moto_process())
        sys.stdout.write(f"{stack.enter_context(slow_hop(server, arguments.delay)).url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()

"""Servers of the tests' own: a port, and a wait until they answer."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(process: subprocess.Popen[bytes], url: str, says: str, log: Path) -> None:
    """Until what `url` answers has the text `says`. Fails with the log if the process ends before."""
    while process.poll() is None:
        with suppress(OSError), urlopen(url, timeout=5) as answer:
            if says in answer.read().decode():
                return
        with suppress(subprocess.TimeoutExpired):  # a pause that ends when the server does
            process.wait(timeout=0.5)
    raise AssertionError(f"the server has ended:\n{log.read_text(errors='replace')[-5000:]}")

"""Starts the process that answers a query, and turns whatever ends it into a sentence. See `reader`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from compactor import diagnose
from compactor.errors import CompactorError, UsageError

if TYPE_CHECKING:
    from compactor.duck.reader import Job

_PROGRAM = "from compactor.duck.reader import main; main()"
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Variables that DuckDB would copy into settings, which SQL can show. The job has the credentials that it needs."""
_MESSAGE_BYTES = 64 * 1024


class ReaderProcess:
    """The process. It loads its libraries while the caller opens the catalog."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        self._process, self._errors = process, errors

    def answer(self, job: Job) -> Iterator[pa.Schema | pa.RecordBatch]:
        """Yields the schema of the result, then its batches.

        Raises UsageError if the statement is not valid or not allowed, CompactorError if it cannot be answered.
        """
        process = self._process
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            process.stdin.flush()
            with pa.ipc.open_stream(process.stdout) as rows:
                yield rows.schema
                yield from rows
        except (pa.ArrowInvalid, OSError):  # the stream ends where the process has ended
            process.wait()
            raise self._failure() from None
        if process.wait():
            raise self._failure()

    def _failure(self) -> CompactorError:
        code = self._process.returncode
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _MESSAGE_BYTES))
        said = self._errors.read().decode(errors="replace")
        if code == 1 and said.endswith("]\n"):
            is_usage, sentence = json.loads(said.splitlines()[-1])
            return UsageError(sentence) if is_usage else CompactorError(sentence)
        if code == -signal.SIGKILL:
            return CompactorError(f"the query's process was killed (SIGKILL); {diagnose.MEMORY}")
        if "duckdb::" in said:
            return CompactorError(
                "the query ended, because a file of a table's metadata is damaged, missing or may not be read;"
                " `compactor verify --files` names it"
            )
        if "terminate called" in said:  # by the refusal of a thread, in DuckDB's Iceberg reader
            return CompactorError(f"the query ended: {diagnose.THREADS}")
        ended = f"signal {-code}" if code < 0 else f"code {code}"
        return CompactorError(f"the query's process ended early ({ended}); run it again with lower resources.threads")


@contextmanager
def started() -> Iterator[ReaderProcess]:
    """Starts the process; ends it with the context, whatever it is doing."""
    environment = {name: value for name, value in os.environ.items() if name not in _KEYS}
    environment["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    with TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # this Python, and a program of our own
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        try:
            yield ReaderProcess(process, errors)
        finally:
            process.kill()
            with process:  # closes the pipes, and waits
                pass

"""The process that answers a `query`.

DuckDB's Iceberg reader ends its process where a file of a table's metadata is damaged, or where the system refuses it a
thread. So a query has a process of its own, which can end like that, and `reader_process` makes a sentence of it.

stdin has one line, the `Job` as JSON, and stays open as long as the answer is of use. stdout has the rows as an Arrow
stream. The last line of stderr says what failed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import duckdb
import pyarrow as pa

from compactor import diagnose
from compactor.duck import session, statement
from compactor.duck.extensions import load_extensions
from compactor.duck.sql import literal
from compactor.errors import CompactorError, UsageError

_BATCH_ROWS = 8192
_CHECK = "check that the storage can be read"


@dataclass(frozen=True)
class Job:
    """A statement, and the session that answers it.

    Attributes:
        sql: the statement.
        setup: statements that make the tables known. They hold credentials.
        views: statements that create the views.
        places: the folders of the tables. Nothing else can be read, unless `allow_files`.
        extensions: of DuckDB.
        memory: bytes.
        threads: None: one per core.
        folder: where the session spills.
    """

    sql: str
    setup: list[str]
    views: list[str]
    places: list[str]
    extensions: list[str]
    allow_files: bool
    memory: int
    threads: int | None
    folder: str


def main() -> None:
    """Answers the job on stdin, and ends the process."""
    line = sys.stdin.buffer.readline()
    failure: CompactorError | None = None
    try:
        if line:
            threading.Thread(target=_end_with_parent, daemon=True).start()
            _answer(Job(**json.loads(line)), sys.stdout.buffer)
    except CompactorError as error:
        failure = error
    except BrokenPipeError:
        pass  # the parent has read enough
    except (MemoryError, OSError, RuntimeError) as error:  # no thread, no memory, a full disk
        failure = CompactorError(f"the query failed: {diagnose.reason(error) or type(error).__name__}")
    if failure:
        print(json.dumps([isinstance(failure, UsageError), str(failure)]), file=sys.stderr, flush=True)  # noqa: T201
    os._exit(failure is not None)  # threads of native libraries can abort the interpreter's own teardown


def _end_with_parent() -> None:
    """Ends this process when the parent has closed stdin, or has ended itself."""
    sys.stdin.buffer.read()
    os._exit(1)


def open_session(job: Job) -> duckdb.DuckDBPyConnection:
    """A session that has the tables and views, can read nothing else, and stays like that."""
    con = session.connect(job.memory, job.threads, Path(job.folder))
    load_extensions(con, job.extensions)
    _open_tables(con, job)
    _close_everything_else(con, job)
    return con


def result(con: duckdb.DuckDBPyConnection, sql: str, *, allow_files: bool) -> pa.RecordBatchReader:
    """The rows of a statement, in batches. Raises UsageError if it is not valid or not allowed, else CompactorError."""
    try:
        statement.check(con, sql, allow_files=allow_files)
        return con.execute(sql).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise _explained(error, "failed") from error


def _answer(job: Job, out: BinaryIO) -> None:
    rows = result(open_session(job), job.sql, allow_files=job.allow_files)
    try:
        with pa.ipc.new_stream(out, rows.schema) as stream:
            for batch in rows:
                stream.write_batch(batch)
        out.flush()
    except duckdb.Error as error:
        raise _explained(error, "failed while it ran") from error


def _open_tables(con: duckdb.DuckDBPyConnection, job: Job) -> None:
    try:
        for each in job.setup:
            con.execute(each)
    except duckdb.Error as error:
        # Without the error's text: it may quote the statement, which holds the credentials.
        why = diagnose.reason(error) or _CHECK
        raise CompactorError(f"the tables cannot be opened ({type(error).__name__}); {why}") from error
    try:
        for each in job.views:
            con.execute(each)
    except duckdb.Error as error:
        raise _explained(error, "failed") from error


def _close_everything_else(con: duckdb.DuckDBPyConnection, job: Job) -> None:
    """DuckDB follows links before it compares a path, so a link in a table's folder leads nowhere else."""
    if not job.allow_files:
        con.execute(f"SET allowed_directories = [{', '.join(map(literal, job.places))}]")
        con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


def _explained(error: duckdb.Error, what: str) -> CompactorError:
    if isinstance(error, duckdb.PermissionException):
        return UsageError(
            "query reads the tables alone, and the statement names another file, folder or URL; give --allow-files if"
            " it should"
        )
    if isinstance(error, duckdb.ParserException | duckdb.BinderException | duckdb.CatalogException):
        return UsageError(f"the SQL is not valid: {str(error).strip()}")
    reason = diagnose.reason(error)
    return CompactorError(
        f"the query {what}: {reason}" if reason else f"the query {what} ({type(error).__name__}); {_CHECK}"
    )

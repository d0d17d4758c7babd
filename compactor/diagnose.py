"""Explains failures of the machine and of services: one sentence with the next step, and no record content.

Errors are recognized by the names of their modules and types, so this module imports none of the libraries. The command
line imports it before any of them.
"""

from __future__ import annotations

import errno
import re
import resource
import threading
import traceback

from compactor.errors import CompactorError

_S3_ACTIONS = {
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
}
"""Request of Arrow's S3 client -> permission that it needs. All other requests write, and need s3:PutObject."""

THREADS = "no more threads may be started; raise the limit on processes (ulimit -u, or the container's)"
MEMORY = "there is not enough memory; give the process more, or lower resources.memory, batch.bytes and source.readers"
"""Sentences for a failure that only the way in which a process ended shows."""

_SYSTEM = {
    errno.ENOSPC: "the disk is full; free some space, or set resources.temp_dir and warehouse to a disk that has space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "a file would exceed the limit on file sizes; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; mount it for writing, or set another folder in the config",
    errno.EACCES: "permission denied; let this user write to the warehouse and to resources.temp_dir",
    errno.EPERM: "permission denied; let this user write to the warehouse and to resources.temp_dir",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n), or lower source.readers",
    errno.EAGAIN: THREADS,
}
_SPILL = "DuckDB's memory and its spill folder are full; raise resources.memory, or free space in resources.temp_dir"

_BY_TEXT = (
    ("database or disk is full", _SYSTEM[errno.ENOSPC]),
    ("No space left", _SYSTEM[errno.ENOSPC]),
    ("readonly database", _SYSTEM[errno.EROFS]),
    ("Read-only file system", _SYSTEM[errno.EROFS]),
    ("Failed to launch worker thread", THREADS),
    ("can't start new thread", THREADS),
    ("Resource temporarily unavailable", THREADS),
    ("bad allocation", MEMORY),
    ("bad_alloc", MEMORY),
    ("malloc of size", MEMORY),
    ("realloc of size", MEMORY),
)
"""Texts in errors of the libraries that mean a failure of the machine, and the sentence for each."""

_ADDRESS_SPACE = 3 << 30
_NEEDED_THREADS = 32


_stop_requested = threading.Event()


def refuse_small_address_space() -> None:
    """Raises CompactorError if `ulimit -v` is so small that native libraries abort, or wait forever for a thread."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _ADDRESS_SPACE:
        raise CompactorError(
            f"the address space is limited to {limit >> 20} MiB (ulimit -v), and 3072 MiB are needed; most of it"
            " is only reserved; lift that limit, and limit memory by resources.memory or the container's limit"
        )


def request_stop() -> None:
    """Remembers that the program is to stop, because DuckDB turns an interrupt into another error."""
    _stop_requested.set()


def forget_stop() -> None:
    _stop_requested.clear()


def stop_requested() -> bool:
    """Whether `request_stop` was called since the last `forget_stop`."""
    return _stop_requested.is_set()


def raise_if_stopped(error: Exception) -> None:
    """Raises KeyboardInterrupt if an error is how a stop of the program shows: no other work must be begun then."""
    interrupted = type(error).__name__ == "InterruptException" or str(error) == "Query interrupted"  # both of DuckDB
    if stop_requested() or interrupted:
        raise KeyboardInterrupt from error


def sentence(error: BaseException) -> str:
    """An error as one sentence for the operator, with the next step. It shows no content of records."""
    if isinstance(error, CompactorError):
        return str(error)
    if found := reason(error):
        return f"{found}; then run it again, which completes what was begun"
    # Nobody foresaw any other error. Its message may quote the data, so only its type and its place are shown.
    places = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [place for place in places if place[0].startswith("compactor.")]
    module, line = (ours or places)[-1]
    return f"unexpected error: {type(error).__name__} at {module}:{line} (run with -v for the traceback)"


def refuse_few_threads() -> None:
    """Raises CompactorError if the system refuses threads, without which native libraries abort or wait forever."""
    end = threading.Event()
    started = []
    try:
        for _ in range(_NEEDED_THREADS):
            thread = threading.Thread(target=end.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise CompactorError(f"{THREADS}; {_NEEDED_THREADS} are needed, and {len(started)} could be started") from error
    finally:
        end.set()
        for thread in started:
            thread.join()


def reason(error: BaseException) -> str | None:
    """The sentence for an error; None for an unknown one."""
    module, name = type(error).__module__, type(error).__name__
    if isinstance(error, MemoryError) or name == "ArrowMemoryError":
        return MEMORY
    if module.startswith(("duckdb", "_duckdb")):  # DuckDB also passes on errors of Arrow, from which it reads rows
        return _of_text(str(error)) or (_SPILL if name == "OutOfMemoryException" else None)
    if module.startswith("sqlalchemy."):
        return _of_database(name, getattr(error, "orig", None))
    if module.startswith("botocore."):
        return _of_glue(error)
    if isinstance(error, OSError):
        return _of_text(str(error)) or _SYSTEM.get(error.errno or 0)
    return _of_text(str(error)) if isinstance(error, RuntimeError) else None


def _of_database(name: str, cause: object) -> str | None:
    if getattr(cause, "pgcode", None) == "42501":  # insufficient privilege
        return (
            "the catalog's database refuses this user; grant SELECT, INSERT, UPDATE and DELETE on iceberg_tables and"
            " iceberg_namespace_properties"
        )
    if name == "OperationalError" and "locked" in str(cause):
        return "the catalog's database is locked by another process; run again when that has ended"
    if name in ("OperationalError", "InterfaceError", "InternalError", "DatabaseError", "TimeoutError"):
        cannot = "the catalog's database cannot be used; check catalog.properties, its disk and its server"
        return _of_text(str(cause)) or cannot
    return None


def _of_text(text: str) -> str | None:
    """For errors of a disk or of Arrow's S3 client: only their text says what happened."""
    if found := re.search(r"AWS Error (\w+)(?: \(HTTP status \d+\))? during (\w+) operation", text):
        code, operation = found.groups()
        if code == "ACCESS_DENIED":
            return f"access denied; grant {_S3_ACTIONS.get(operation, 's3:PutObject')} on the tables' bucket"
        return f"S3 answered {code} to {operation}; check catalog.properties and the network"
    if found := re.search(r"\[[Ee]rrno (\d+)\]", text):
        return _SYSTEM.get(int(found[1]))
    return next((sentence for part, sentence in _BY_TEXT if part in text), None)


def _of_glue(error: BaseException) -> str:
    operation: str | None = getattr(error, "operation_name", None)
    if operation is None:
        return f"the request to AWS failed ({type(error).__name__}); check the credentials, the region and the network"
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if code == "AccessDeniedException":
        return f"access denied; grant glue:{operation} on the catalog, the database and its tables"
    return f"Glue answered {code} to {operation}; check the credentials, or run again later"

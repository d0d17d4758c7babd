"""What a failure of the machine or of a service beneath us means: one sentence with the next step, no record content.

Errors are told by the names of their modules and types, so that this module needs none of the libraries: the command
line imports it before any of them.
"""

from __future__ import annotations

import errno
import re

_S3_ACTIONS = {
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
}
"""The right behind a request of Arrow's S3 client; all others write, and need s3:PutObject."""

_SYSTEM = {
    errno.ENOSPC: "the disk is full; free some space, or set resources.temp_dir and warehouse to where there is some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "a file may not grow as large as is needed; raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only; mount it for writing, or name another folder in the config",
    errno.EACCES: "permission denied; let this user write to the warehouse and to resources.temp_dir",
    errno.EPERM: "permission denied; let this user write to the warehouse and to resources.temp_dir",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n), or lower source.readers",
}
_MEMORY = "there is not enough memory; give the process more, or lower resources.memory, batch.bytes and source.readers"
_SPILL = "the engine's memory and spill folder are full; raise resources.memory, or free space in resources.temp_dir"


def reason(error: BaseException) -> str | None:
    """Why a run failed that met this error; None for an error that nobody foresaw."""
    module, name = type(error).__module__, type(error).__name__
    if isinstance(error, MemoryError) or name == "ArrowMemoryError":
        return _MEMORY
    if module.startswith(("duckdb", "_duckdb")):
        if name == "OutOfMemoryException":
            return _SPILL
        return _SYSTEM[errno.ENOSPC] if "No space left" in str(error) else None
    if module.startswith("sqlalchemy."):
        return _of_database(name, getattr(error, "orig", None))
    if module.startswith("botocore."):
        return _of_glue(error)
    return _of_files(error) if isinstance(error, OSError) else None


def _of_database(name: str, cause: object) -> str | None:
    if getattr(cause, "pgcode", None) == "42501":  # insufficient privilege
        return (
            "the catalog's database refuses its user; grant SELECT, INSERT, UPDATE and DELETE on iceberg_tables and"
            " iceberg_namespace_properties"
        )
    if name == "OperationalError" and "locked" in str(cause):
        return "the catalog's database is locked by another process; run again when that has ended"
    if name in ("OperationalError", "InterfaceError", "InternalError", "DatabaseError", "TimeoutError"):
        return "the catalog's database cannot be used; check catalog.properties, its disk and its server"
    return None


def _of_files(error: OSError) -> str | None:
    """Of a disk, or of Arrow's S3 client, which tells what happened in its text alone."""
    found = re.search(r"AWS Error (\w+) during (\w+) operation", str(error))
    if found and found[1] == "ACCESS_DENIED":
        return f"access denied; grant {_S3_ACTIONS.get(found[2], 's3:PutObject')} on the tables' bucket"
    if found:
        return f"S3 answered {found[1]} to {found[2]}; check catalog.properties and the network"
    number = error.errno or next((int(code) for code in re.findall(r"\[[Ee]rrno (\d+)\]", str(error))), None)
    return _SYSTEM.get(number) if number else None


def _of_glue(error: BaseException) -> str:
    operation: str | None = getattr(error, "operation_name", None)
    if operation is None:
        return f"AWS was not asked ({type(error).__name__}); check the credentials, the region and the network"
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    if code == "AccessDeniedException":
        return f"access denied; grant glue:{operation} on the catalog, the database and its tables"
    return f"Glue answered {code} to {operation}; check the credentials, or run again later"

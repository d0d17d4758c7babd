"""Names the file because of which a table cannot be read.

Libraries raise many kinds of errors for a file that is gone, empty, cut short or overwritten. This module distinguishes
a file of a table from a failure of the machine or of a service (`diagnose`), which passes and damages nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyiceberg.exceptions import ValidationError
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Snapshot

from compactor import diagnose
from compactor.errors import CompactorError, UnreadableError

MISSING, DAMAGED = "is missing", "is damaged"
_BROKEN = (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error, pa.ArrowException, ValidationError)
"""What the libraries raise for the bytes of a file. A manifest is Avro, for which they can raise anything."""


def of_metadata(error: Exception) -> str | None:
    """What is wrong with the metadata file of a table that could not be loaded; None if that is not the reason."""
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return None  # as likely the catalog's
    return _wrong(error, _BROKEN)


def of_manifests(table: IcebergTable, snapshot: Snapshot | None) -> UnreadableError | None:
    """The error of a snapshot whose files could not be listed; None if all of its manifests can be read."""
    name = ".".join(table.name())
    if snapshot is None:
        return None
    if wrong := _failing(lambda: snapshot.manifests(table.io)):
        return UnreadableError(name, snapshot.manifest_list, wrong)
    for manifest in snapshot.manifests(table.io):
        if wrong := _failing(lambda each=manifest: each.fetch_manifest_entry(table.io)):  # type: ignore[misc]
            return UnreadableError(name, manifest.manifest_path, wrong)
    return None


@contextmanager
def data_file(table: IcebergTable, path: str) -> Iterator[None]:
    """Raises UnreadableError where the body fails because of the bytes of a data file."""
    try:
        yield
    except Exception as error:
        if wrong := _wrong(error, _BROKEN):
            raise UnreadableError(".".join(table.name()), path, wrong) from error
        raise


def _failing(read: Callable[[], object]) -> str | None:
    try:
        read()
    except Exception as error:  # noqa: BLE001  see _BROKEN
        return _wrong(error, Exception)
    return None


def _wrong(error: Exception, kinds: type[Exception] | tuple[type[Exception], ...]) -> str | None:
    if isinstance(error, FileNotFoundError):
        return MISSING
    if isinstance(error, CompactorError) or not isinstance(error, kinds) or diagnose.reason(error):
        return None
    return DAMAGED

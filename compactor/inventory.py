"""Which files a table refers to, and which lie below its location: what is missing, and what is left over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyarrow.fs import FileSelector, FileSystem, FileType

from compactor.table import Table


@dataclass(frozen=True)
class Inventory:
    """Paths as the file system has them. `left_over` maps each to its bytes: files that no snapshot and no metadata
    refers to, such as those of a killed run, or of one under way.
    """

    referenced: int
    missing: tuple[str, ...]
    left_over: dict[str, int]


def take(table: Table) -> Inventory:
    """Compares what all snapshots and the kept versions of the metadata refer to with one listing of the location.

    Holds the paths of the table's files in memory. Listed last: what is written meanwhile is left over, never missing.
    """
    io = table.iceberg.io
    scheme, netloc, root = io.parse_location(table.location)  # type: ignore[attr-defined]  # of PyArrow's FileIO
    system: FileSystem = io.fs_by_scheme(scheme, netloc)  # type: ignore[attr-defined]
    due = {io.parse_location(path)[2] for path in _referenced(table)}  # type: ignore[attr-defined]
    selector = FileSelector(root, allow_not_found=True, recursive=True)
    found = {info.path: info.size for info in system.get_file_info(selector) if info.type == FileType.File}
    elsewhere = sorted(due - found.keys())  # a table may refer to files outside of its location
    missing = [path for path in elsewhere if system.get_file_info(path).type == FileType.NotFound]
    return Inventory(len(due), tuple(missing), {path: found[path] for path in sorted(found.keys() - due)})


def _referenced(table: Table) -> Iterator[str]:
    metadata, io = table.iceberg.metadata, table.iceberg.io
    yield table.iceberg.metadata_location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in metadata.statistics)
    seen: set[str] = set()
    for snapshot in metadata.snapshots:
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
                yield from (entry.data_file.file_path for entry in entries)

"""Which files a table refers to and which are below its location: so which are missing, and which are left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from pyarrow.fs import FileSelector, FileSystem, FileType

from compactor.lake import marks
from compactor.lake.table import Snapshot, Table


@dataclass(frozen=True)
class Inventory:
    """The files of one table. Paths are as the file system has them.

    Attributes:
        referenced: how many files the snapshots and the metadata refer to.
        missing: those of them that do not exist.
        left_over: path -> bytes of the files that nothing refers to: of a stopped run, or of a run that is writing now.
        unreadable: those of `missing` without which the table's rows cannot be read.
        lost: the data files among these, by their paths in the table's metadata.
        broken: the older snapshots that refer to a missing file, except heads of branches and tags.
    """

    referenced: int
    missing: tuple[str, ...]
    left_over: dict[str, int]
    unreadable: tuple[str, ...]
    lost: frozenset[str]
    broken: tuple[int, ...]


def take(table: Table) -> Inventory:
    """Compares what all snapshots and the kept versions of the metadata refer to with one listing of the location.

    Holds the paths of the table's files in memory. The location is listed last, so that a file written meanwhile
    counts as left over, never as missing.
    """
    place = _places(table)
    referenced = {place(path) for path in _referenced(table)}
    found, missing = _compared(table, referenced)
    left_over = {path: found[path] for path in sorted(found.keys() - referenced) if not marks.is_marks(path)}
    if not missing:
        return Inventory(len(referenced), (), left_over, (), frozenset(), ())
    return Inventory(len(referenced), missing, left_over, *_consequences(table, set(missing), place))


def is_whole(table: Table) -> bool:
    """Whether all files without which the table's rows cannot be read are there, of their full length.

    Lists the location once. Raises what the storage or the library raises where a manifest cannot be read.
    """
    snapshot = table._iceberg.current_snapshot()
    if snapshot is None:
        return True
    io, place = table._iceberg.io, _places(table)
    sizes: dict[str, int | None] = {place(snapshot.manifest_list): None}
    for manifest in snapshot.manifests(io):
        sizes[place(manifest.manifest_path)] = manifest.manifest_length
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
            sizes[place(entry.data_file.file_path)] = entry.data_file.file_size_in_bytes
    found, missing = _compared(table, set(sizes))
    return not missing and all(found.get(path, size) == size or size is None for path, size in sizes.items())


def _places(table: Table) -> Callable[[str], str]:
    """From a path as metadata has it to one as the file system has it."""
    io = table._iceberg.io
    return lambda path: str(io.parse_location(path)[2])  # type: ignore[attr-defined]  # of PyArrow's FileIO


def _compared(table: Table, referenced: set[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """The files below the location with their bytes, and those of `referenced` that do not exist."""
    io = table._iceberg.io
    scheme, netloc, root = io.parse_location(table.location)  # type: ignore[attr-defined]
    system: FileSystem = io.fs_by_scheme(scheme, netloc)  # type: ignore[attr-defined]
    selector = FileSelector(root, allow_not_found=True, recursive=True)
    found = {info.path: info.size for info in system.get_file_info(selector) if info.type == FileType.File}
    elsewhere = sorted(referenced - found.keys())  # a table may refer to files outside of its location
    return found, tuple(path for path in elsewhere if system.get_file_info(path).type == FileType.NotFound)


def _consequences(
    table: Table, missing: set[str], place: Callable[[str], str]
) -> tuple[tuple[str, ...], frozenset[str], tuple[int, ...]]:
    """What is `unreadable`, `lost` and `broken` (see `Inventory`)."""
    unreadable: list[str] = []
    broken: list[int] = []
    heads = {ref.snapshot_id for ref in table._iceberg.metadata.refs.values()}
    for snapshot in table._iceberg.metadata.snapshots:
        files = {place(path) for path in _of_snapshot(table, snapshot, set())} & missing
        if snapshot.snapshot_id == table.snapshot_id:
            unreadable = sorted(files)
        elif files and snapshot.snapshot_id not in heads:
            broken.append(snapshot.snapshot_id)
    with suppress(FileNotFoundError):  # of a manifest: then its data files are not known, and all of it is unreadable
        lost = frozenset(file.file_path for file in table.files if place(file.file_path) in missing)
        return tuple(unreadable), lost, tuple(broken)
    return tuple(unreadable), frozenset(), tuple(broken)


def _referenced(table: Table) -> Iterator[str]:
    metadata = table._iceberg.metadata
    yield table._iceberg.metadata_location
    yield from (entry.metadata_file for entry in metadata.metadata_log)
    yield from (statistics.statistics_path for statistics in metadata.statistics)
    seen: set[str] = set()
    for snapshot in metadata.snapshots:
        yield from _of_snapshot(table, snapshot, seen)


def _of_snapshot(table: Table, snapshot: Snapshot, seen: set[str]) -> Iterator[str]:
    """The files of a snapshot, without those of manifests that were `seen` before or that are missing themselves."""
    io = table._iceberg.io
    yield snapshot.manifest_list
    with suppress(FileNotFoundError):
        for manifest in snapshot.manifests(io):
            if manifest.manifest_path not in seen:
                seen.add(manifest.manifest_path)
                yield manifest.manifest_path
                with suppress(FileNotFoundError):
                    entries = manifest.fetch_manifest_entry(io, discard_deleted=True)
                    yield from (entry.data_file.file_path for entry in entries)

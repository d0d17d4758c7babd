"""Which files a table refers to and which are below its location: so which are missing or damaged, and left over.

No data file is opened: a data file is damaged here if its size is not the one that the table's metadata has. The files
of the metadata are read whole.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.avro.file import AvroFile
from pyiceberg.manifest import DataFileContent

from compactor.lake import marks
from compactor.lake.file_reading import damage
from compactor.lake.table import Table
from compactor.lake.unreadable import MISSING

_JSON = ("schema", "partition-spec")
"""Texts in the head of a manifest that the library does not read and other engines do."""


@dataclass(frozen=True)
class Inventory:
    """The files of one table. Paths are as the file system has them.

    Attributes:
        referenced: how many files the snapshots and the metadata refer to.
        damaged: path -> what is wrong, of those of them that are missing or damaged.
        left_over: path -> bytes of the files that nothing refers to: of a stopped run, or of a run that is writing now.
        unreadable: those of `damaged` without which the table's rows cannot be read.
        lost: the data files among these, by their paths in the table's metadata.
        broken: the older snapshots that refer to a damaged file, except heads of branches and tags.
    """

    referenced: int
    damaged: Mapping[str, str]
    left_over: Mapping[str, int]
    unreadable: tuple[str, ...]
    lost: frozenset[str]
    broken: tuple[int, ...]

    @property
    def only_data_files(self) -> bool:
        """Whether the rows of all other data files can be read."""
        return len(self.lost) == len(self.unreadable)


@dataclass
class _Found:
    """What reading the metadata gives.

    The data files and delete files have numbers, because each of them is in many manifests.

    Attributes:
        sizes: path -> bytes that the metadata expects of the file; None where it does not say.
        damaged: path -> what is wrong.
        manifests: snapshot id -> paths of its manifests.
        numbers: path of a data file or delete file -> its number.
        data: the numbers of the data files.
        entries: path of a manifest -> the numbers of the files that it lists as live.
    """

    sizes: dict[str, int | None] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    manifests: dict[int, list[str]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    data: set[int] = field(default_factory=set)
    entries: dict[str, array[int]] = field(default_factory=dict)


def take(table: Table) -> Inventory:
    """Compares what all snapshots and the kept versions of the metadata refer to with one listing of the location.

    Holds the paths of the table's files in memory. The location is listed last, so that a file written meanwhile
    counts as left over, never as missing.
    """
    io = table._iceberg.io
    scheme, netloc, root = io.parse_location(table.location)  # type: ignore[attr-defined]  # of PyArrow's FileIO
    system: FileSystem = io.fs_by_scheme(scheme, netloc)  # type: ignore[attr-defined]
    found = _read_metadata(table)
    places = {path: _place(io, path) for path in found.sizes}
    selector = FileSelector(root, allow_not_found=True, recursive=True)
    listed = {info.path: info.size for info in system.get_file_info(selector) if info.type == FileType.File}
    for path, expected in found.sizes.items():
        size = listed.get(places[path])
        try:
            if size is None:  # a table may refer to files outside of its location
                info = system.get_file_info(places[path])
                size = None if info.type == FileType.NotFound else info.size
            wrong = _wrong_size(size, expected)
        except Exception as error:  # noqa: BLE001  a flipped byte can make a path that is none
            wrong = damage(error)
        if wrong:
            found.damaged[path] = wrong
    unknown = sorted(listed.keys() - set(places.values()))
    left_over = {path: listed[path] for path in unknown if not marks.is_marks(path)}
    damaged = {places[path]: found.damaged[path] for path in sorted(found.damaged)}
    unreadable, lost, broken = _consequences(table, found)
    return Inventory(
        len(places), damaged, left_over, tuple(sorted(places[path] for path in unreadable)), lost, tuple(broken)
    )


def _place(io: Any, path: str) -> str:
    try:
        return str(io.parse_location(path)[2])
    except ValueError:  # of a flipped byte: no URL
        return path


def _wrong_size(size: int | None, expected: int | None) -> str | None:
    if size is None:
        return MISSING
    if size == 0:
        return "is empty"
    return f"has {size} bytes, not {expected}" if expected is not None and size != expected else None


def _consequences(table: Table, found: _Found) -> tuple[set[str], frozenset[str], list[int]]:
    """What is `unreadable`, `lost` and `broken` (see `Inventory`), by paths in the metadata."""
    if not found.damaged:
        return set(), frozenset(), []
    listed = {found.numbers[path]: path for path in found.damaged.keys() & found.numbers.keys()}
    of_manifest = {
        name: {listed[number] for number in listed.keys() & set(found.entries[name])} for name in found.entries
    }
    current: set[str] = set()
    lost: frozenset[str] = frozenset()
    broken: list[int] = []
    heads = {ref.snapshot_id for ref in table._iceberg.metadata.refs.values()}
    for snapshot in table._iceberg.metadata.snapshots:
        manifests = found.manifests[snapshot.snapshot_id]
        lists = {snapshot.manifest_list, *manifests} & found.damaged.keys()
        files = lists.union(*(of_manifest[name] for name in manifests))
        if snapshot.snapshot_id == table.snapshot_id:
            current = files
            # Without all of its manifests, the data files of a snapshot are not known.
            lost = frozenset() if lists else frozenset(path for path in files if found.numbers[path] in found.data)
        elif files and snapshot.snapshot_id not in heads:
            broken.append(snapshot.snapshot_id)
    return current, lost, broken


def _read_metadata(table: Table) -> _Found:
    metadata, io = table._iceberg.metadata, table._iceberg.io
    found = _Found({table.metadata_location: None})
    found.sizes |= {entry.metadata_file: None for entry in metadata.metadata_log}
    found.sizes |= {each.statistics_path: each.file_size_in_bytes for each in metadata.statistics}
    # The current one first: of its files the heads are read too.
    for snapshot in sorted(metadata.snapshots, key=lambda each: each.snapshot_id != table.snapshot_id):
        is_current = snapshot.snapshot_id == table.snapshot_id
        found.sizes[snapshot.manifest_list] = None
        names = found.manifests[snapshot.snapshot_id] = []
        try:
            manifests = snapshot.manifests(io)
            if is_current:
                _check_head(io, snapshot.manifest_list)
        except Exception as error:  # noqa: BLE001  the reader of damaged Avro raises almost anything
            found.damaged[snapshot.manifest_list] = damage(error)
            continue
        for manifest in manifests:
            names.append(manifest.manifest_path)
            if manifest.manifest_path not in found.entries:
                found.sizes[manifest.manifest_path] = manifest.manifest_length
                found.entries[manifest.manifest_path] = array("L")
                try:
                    _read_manifest(io, manifest, found)
                    if is_current:
                        _check_head(io, manifest.manifest_path)
                except Exception as error:  # noqa: BLE001  the same
                    found.damaged[manifest.manifest_path] = damage(error)
    return found


def _read_manifest(io: Any, manifest: Any, found: _Found) -> None:
    for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
        file = entry.data_file
        number = found.numbers.setdefault(file.file_path, len(found.numbers))
        found.sizes[file.file_path] = file.file_size_in_bytes
        if file.content == DataFileContent.DATA:
            found.data.add(number)
        found.entries[manifest.manifest_path].append(number)


def _check_head(io: Any, path: str) -> None:
    """Raises where the head of an Avro file of the metadata is not what each engine can read."""
    with AvroFile[Any](io.new_input(path)) as file:
        meta = file.header.meta
    for name in _JSON:
        json.loads(meta.get(name, "null"))

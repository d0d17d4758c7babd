"""A table as it was copied to another place: what it names there, what is missing, and what has to be written again.

Nothing is read at the old place, which may be gone, or may be another lake by now.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pyarrow.fs import FileSelector, FileType
from pyiceberg.catalog import Catalog
from pyiceberg.io import load_file_io

from compactor.errors import CompactorError
from compactor.lake import avro
from compactor.lake.place import below, is_local, plain

DATA, POSITION_DELETES = 0, 1
_DELETED = 2
_DATA_PATH = "write.data.path"
STATISTICS = ("statistics", "partition-statistics")
"""The keys of the metadata under which files of statistics are listed."""
_EXAMPLES = 10


@dataclass(frozen=True)
class Move:
    """From one folder to another, as URLs without a slash at their ends."""

    source: str
    target: str

    def new(self, path: str) -> str:
        """A path at the new place. One that lies outside of the old place stays as it is (see `is_old`)."""
        return f"{self.target}{below(path, self.source)}" if self.is_old(path) else path

    def is_old(self, path: str) -> bool:
        """Whether a path names the old place: of two places of which one is in the other, the inner one decides."""
        if below(path, self.source) is None:
            return False
        return below(path, self.target) is None or len(plain(self.source)) > len(plain(self.target))

    def is_new(self, path: str) -> bool:
        return below(path, self.target) is not None and not self.is_old(path)


class Storage:
    """Reads, writes and lists files by PyIceberg's storage."""

    def __init__(self, catalog: Catalog, root: str) -> None:
        self.io: Any = load_file_io({**catalog.properties}, location=root)
        self._listed: dict[str, dict[str, int]] = {}

    def read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        with self.io.new_input(path).open() as stream:
            return bytes(stream.read())

    def write(self, path: str, data: bytes) -> int:
        with self.io.new_output(path).create() as stream:
            stream.write(data)
        return len(data)

    def size(self, path: str) -> int | None:
        """Bytes; None where there is no such file."""
        known = next((sizes for root, sizes in self._listed.items() if below(path, root) is not None), {})
        found = known.get(plain(path))
        if found is not None:
            return found
        scheme, netloc, place = self.io.parse_location(path)
        info = self.io.fs_by_scheme(scheme, netloc).get_file_info(place)
        return int(info.size) if info.type == FileType.File else None

    @contextmanager
    def listed(self, folders: Sequence[str]) -> Iterator[None]:
        """Lists folders once, so that `size` need not ask for each file in them. Holds their paths in memory."""
        try:
            for folder in folders:
                self._listed[folder] = {plain(path): size for path, size in self._infos(folder, FileType.File)}
            yield
        finally:
            self._listed.clear()

    def files(self, folder: str) -> list[str]:
        """The files right in a folder."""
        return [path for path, _ in self._infos(folder, FileType.File, recursive=False)]

    def folders(self, folder: str) -> list[str]:
        """The folders right in a folder."""
        return [path for path, _ in self._infos(folder, FileType.Directory, recursive=False)]

    def _infos(self, folder: str, kind: FileType, *, recursive: bool = True) -> Iterator[tuple[str, int]]:
        scheme, netloc, place = self.io.parse_location(folder)
        system = self.io.fs_by_scheme(scheme, netloc)
        prefix = "".join(folder.partition("://")[:2]) if "://" in folder else ""
        for info in system.get_file_info(FileSelector(place, allow_not_found=True, recursive=recursive)):
            if info.type == kind:
                yield f"{prefix}{info.path}", info.size


@dataclass(frozen=True)
class CopiedTable:
    """A table at its new place.

    Attributes:
        name: without its namespace.
        pointer: where the catalog has its metadata; None where it does not know the table.
        path: the copy of that metadata file, at the new place.
        content: of that file.
    """

    name: str
    pointer: str | None
    path: str
    content: bytes
    move: Move

    @cached_property
    def metadata(self) -> dict[str, Any]:
        return parse(self.content)

    @property
    def location(self) -> str:
        return str(self.metadata["location"]).rstrip("/")

    @property
    def snapshots(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.metadata.get("snapshots", [])
        return found


def parse(content: bytes) -> dict[str, Any]:
    """What a metadata file says. Raises ValueError where it is none."""
    data = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    found = json.loads(data)
    if not isinstance(found, dict) or not isinstance(found.get("location"), str):
        raise ValueError("no metadata of a table")  # noqa: TRY004  it is about the content of a file
    return found


@dataclass
class Survey:
    """What a copied table names. Paths are those of the metadata, at the old place.

    Attributes:
        manifests: path -> bytes, of all snapshots.
        deletes: path -> bytes of the live files of deleted positions, which name data files inside.
        files, bytes: how many data and delete files, and their sizes.
        metadata_bytes: of what has to be written again.
        missing, differing: how many files are not at the new place, or have another size there.
        examples: the first of these, by their new paths.
        problems: why the table cannot be relocated, as clauses with the next step.
    """

    manifests: dict[str, int] = field(default_factory=dict)
    deletes: dict[str, int] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    metadata_files: int = 1
    metadata_bytes: int = 0
    missing: int = 0
    differing: int = 0
    examples: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lack(self, path: str, *, differs: bool = False) -> None:
        self.missing += not differs
        self.differing += differs
        if len(self.examples) < _EXAMPLES:
            self.examples.append(path)

    def refuse(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)


def survey(storage: Storage, table: CopiedTable) -> Survey:
    """Looks at all that a copied table names. Holds the paths of its files in memory."""
    found = Survey(metadata_bytes=len(table.content))
    version = table.metadata.get("format-version")
    if version != 2:
        found.refuse(f"its format version is {version}, and only 2 can be relocated; move it by another tool")
        return found
    _check_place(table, [table.location], found)
    own = table.metadata.get("properties", {}).get(_DATA_PATH)
    files: dict[str, tuple[int, int]] = {}
    with storage.listed([table.move.new(path) for path in (table.location, own) if path]):
        for path in manifest_lists(table):
            for manifest in _of_list(storage, table, path, found):
                if manifest["manifest_path"] not in found.manifests:
                    files |= _of_manifest(storage, table, manifest, found)
        for path, (size, _) in files.items():
            _check(storage, table, path, size, found)
        for each in statistics(table):
            _check(storage, table, each["statistics-path"], each["file-size-in-bytes"], found)
    found.files, found.bytes = len(files), sum(size for size, _ in files.values())
    found.deletes = {path: size for path, (size, content) in files.items() if content == POSITION_DELETES}
    found.metadata_files += len(found.deletes)
    found.metadata_bytes += sum(found.deletes.values())
    _check_place(table, {path.rpartition("/")[0] for path in files}, found)
    return found


def manifest_lists(table: CopiedTable) -> Iterator[str]:
    """The manifest lists of all snapshots, each once."""
    yield from dict.fromkeys(snapshot["manifest-list"] for snapshot in table.snapshots)


def statistics(table: CopiedTable) -> list[dict[str, Any]]:
    """The entries of files of statistics."""
    return [each for name in STATISTICS for each in table.metadata.get(name, [])]


def entries(storage: Storage, path: str) -> avro.AvroFile:
    """A manifest or a manifest list. Raises FileNotFoundError, and CompactorError where it is damaged."""
    try:
        return avro.read(storage.read(path))
    except (CompactorError, ValueError, KeyError) as error:
        raise CompactorError(
            f"{path} cannot be read, it is damaged or no Avro file; restore it from a backup"
        ) from error


def _of_list(storage: Storage, table: CopiedTable, path: str, found: Survey) -> list[dict[str, Any]]:
    new = _checked(table, path, found)
    try:
        file = entries(storage, new)
    except FileNotFoundError:
        found.lack(new)
        return []
    except CompactorError as error:
        found.refuse(str(error))
        return []
    found.metadata_files += 1
    found.metadata_bytes += storage.size(new) or 0
    return file.records


def _of_manifest(
    storage: Storage, table: CopiedTable, manifest: dict[str, Any], found: Survey
) -> dict[str, tuple[int, int]]:
    """Path -> (bytes, content) of the files that are live in a manifest."""
    path, size = manifest["manifest_path"], manifest["manifest_length"]
    found.manifests[path] = size
    if not _check(storage, table, path, size, found):
        return {}
    found.metadata_files += 1
    found.metadata_bytes += size
    files: dict[str, tuple[int, int]] = {}
    try:
        records = entries(storage, table.move.new(path)).records
    except CompactorError as error:
        found.refuse(str(error))
        return {}
    for entry in records:
        file = entry["data_file"]
        content = file.get("content", DATA)
        if entry["status"] == _DELETED:
            continue
        files[file["file_path"]] = file["file_size_in_bytes"], content
        if content == POSITION_DELETES and file["file_format"].upper() != "PARQUET":
            form = file["file_format"].upper()
            found.refuse(
                f"it has deletes in files of the format {form}, whose paths cannot be changed; compact it by an"
                " engine at the old place, then copy it again"
            )
    return files


def _checked(table: CopiedTable, path: str, found: Survey) -> str:
    """A path at the new place."""
    if not (table.move.is_old(path) or table.move.is_new(path)):
        found.refuse(
            f"it names files outside of {table.move.source}, such as {path}; give a --from and a --to that have them"
            " too, or let an engine bring them into the table's folder, then copy it again"
        )
    return table.move.new(path)


def _check(storage: Storage, table: CopiedTable, path: str, size: int, found: Survey) -> bool:
    """Whether a file is at the new place, with its size."""
    new = _checked(table, path, found)
    there = storage.size(new)
    if there != size:
        found.lack(new, differs=there is not None)
    return there == size


def _check_place(table: CopiedTable, folders: Collection[str], found: Survey) -> None:
    """Refuses folders that are at both places, through a link: what is written there would be in the other lake too."""
    for folder in sorted(folders):
        old, new = plain(folder), plain(table.move.new(folder))
        if old != new and is_local(old) and is_local(new) and os.path.realpath(old) == os.path.realpath(new):
            found.refuse(
                f"{new} and {old} are the same folder, through a link; replace the link by a copy of the files"
            )
            return

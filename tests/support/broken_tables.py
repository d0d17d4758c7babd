"""Files of tables that are gone, empty, cut short or overwritten: what storage and careless hands do to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.lake import Lake

FILES_OF_A_TABLE = ("metadata", "manifest list", "manifest", "data")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    quarter = len(content) // 4
    content[quarter : 3 * quarter] = bytes(byte ^ 0xFF for byte in content[quarter : 3 * quarter])
    path.write_bytes(bytes(content))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": _flip,
}


def file_of(lake: Lake, table: str, kind: str, *, part: int = 0) -> Path:
    """The path of one of a table's files. `part`: which of its data files, the one that was written last first."""
    loaded = lake.tables.load_iceberg(table)
    snapshot = loaded.current_snapshot()
    assert snapshot is not None
    match kind:
        case "metadata":
            place = loaded.metadata_location
        case "manifest list":
            place = snapshot.manifest_list
        case "manifest":
            place = snapshot.manifests(loaded.io)[0].manifest_path
        case _:
            files = [task.file for task in loaded.scan().plan_files()]
            place = sorted(files, key=lambda file: path_of(file.file_path).stat().st_mtime_ns, reverse=True)[
                part
            ].file_path
    return path_of(place)


def path_of(place: str) -> Path:
    return Path(place.removeprefix("file://"))


class Kept:
    """A copy of a lake's warehouse, to put back: the tables' metadata names files by their full paths."""

    def __init__(self, lake: Lake) -> None:
        self._place, self._copy = lake.folder / "warehouse", lake.folder / "kept"
        shutil.copytree(self._place, self._copy)

    def put_back(self) -> None:
        shutil.rmtree(self._place)
        shutil.copytree(self._copy, self._place)

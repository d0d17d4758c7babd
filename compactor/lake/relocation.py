"""Finds the tables of a lake that was moved or copied, and makes the catalog name them at their new place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog

from compactor.errors import UsageError
from compactor.lake import copied, place, registration, relocated
from compactor.lake.catalog import Lakehouse
from compactor.lake.copied import CopiedTable, Move, Storage, Survey
from compactor.lake.place import below


@dataclass(frozen=True)
class Misplaced:
    """A table that does not lie where it should.

    Attributes:
        pointer: where the catalog has its metadata; None where it does not know the table.
        path: the metadata file at the new place; None where it is not there.
        root: the old place, as far as it can be seen.
    """

    name: str
    pointer: str | None
    path: str | None
    root: str


@dataclass(frozen=True)
class Found:
    """The tables of a lake.

    Attributes:
        move: None if no table is misplaced.
        misplaced: those of the old place; `elsewhere`: those of neither place.
        unclear: table -> why it cannot be said where it is.
    """

    target: str
    move: Move | None
    misplaced: tuple[Misplaced, ...]
    in_place: tuple[str, ...]
    elsewhere: tuple[str, ...]
    unclear: dict[str, str]


class Relocation:
    """The relocation of a lake's tables to a place."""

    def __init__(self, lake: Lakehouse, target: str | None) -> None:
        """Args: target: a URL or a folder. Default: the warehouse of the config. Raises UsageError without either."""
        self._catalog: Catalog = lake._catalog
        self._namespace = lake.namespace
        own = place.warehouse(self._catalog)
        if target is None and own is None:
            raise UsageError("the config names no folder as its warehouse; name the new place with --to")
        self.target = _url(target) if target is not None else str(own)
        if place.is_closed(self._catalog) and not place.inside(self.target, str(own)):
            raise UsageError(
                f"--to {self.target} is outside of {own}, the warehouse of the config; correct one of them"
            )
        self._storage = Storage(self._catalog, self.target)

    def find(self, names: Iterable[str], source: str | None) -> Found:
        """Looks for the tables of the namespace, and for those of `names` that the catalog does not know.

        Args:
            source: the old place. Default: where the misplaced tables lie.

        Raises UsageError where they lie in several places, or none of them in `source`.
        """
        given = Move(_url(source), self.target) if source is not None else None
        misplaced: list[Misplaced] = []
        in_place: list[str] = []
        elsewhere: list[str] = []
        unclear: dict[str, str] = {}
        listed = registration.table_names(self._catalog, self._namespace)
        for name in listed:
            found = self._of_catalog(name, given)
            if isinstance(found, Misplaced):
                misplaced.append(found)
            else:
                (in_place if found else elsewhere).append(name)
        for name in sorted(set(names) - set(listed)):
            try:
                misplaced += self._of_folders(name)
            except UsageError as error:
                unclear[name] = str(error)
        if not (listed or misplaced or unclear):
            raise UsageError(f"no table is in the catalog, nor in a folder of {self.target}; copy the lake there first")
        root = given.source if given else _one_root(misplaced)
        if root is None:
            return Found(self.target, None, (), tuple(in_place), tuple(elsewhere), unclear)
        move = Move(root, self.target)
        mine = [each for each in misplaced if move.is_old(each.pointer or each.root) or move.is_old(each.root)]
        if not mine and given and not in_place:
            raise UsageError(f"no table lies below --from {root}; correct it")
        elsewhere += [each.name for each in misplaced if each not in mine]
        return Found(self.target, move, tuple(mine), tuple(in_place), tuple(elsewhere), unclear)

    def look(self, table: Misplaced, move: Move) -> tuple[CopiedTable | None, Survey]:
        """The copy of a table, and what it names; without the copy where its metadata file is not there."""
        path = table.path or move.new(table.pointer or "")
        try:
            copy = CopiedTable(table.name, table.pointer, path, self._storage.read(path), move)
            return copy, copied.survey(self._storage, copy)
        except FileNotFoundError:
            survey = Survey(metadata_files=0)
            survey.refuse(f"{path} is not there, which the catalog names; copy all files of the lake, then run again")
            return None, survey
        except (ValueError, KeyError):
            survey = Survey(metadata_files=0)
            survey.refuse(f"{path} is no metadata file of a table; copy it again")
            return None, survey

    def write(self, table: CopiedTable, survey: Survey) -> str:
        """Writes the new metadata of a table, which nothing names yet. Returns its path."""
        return relocated.write(self._storage, table, survey)

    def register(self, table: CopiedTable, path: str) -> None:
        """Makes the catalog name the new metadata. Raises ConflictError where it names other metadata by now."""
        registration.swap(self._catalog, self._namespace, table, self._storage, path)

    def move_namespace(self, move: Move) -> None:
        registration.move_namespace(self._catalog, self._namespace, move)

    def _of_catalog(self, name: str, given: Move | None) -> Misplaced | bool:
        """A table that the catalog knows; True where it is at the new place, False where it is at neither."""
        identifier = f"{self._namespace}.{name}"
        pointer = place.pointer(self._catalog, identifier) or self._catalog.load_table(identifier).metadata_location
        if given and given.is_old(pointer):
            copy = given.new(pointer)
            return Misplaced(name, pointer, copy if self._storage.size(copy) is not None else None, given.source)
        inner = below(pointer.rpartition("/metadata/")[0], self.target)
        if inner is None and given is None and place.inside(pointer, self.target):
            return True  # by a link at the old place
        if inner is not None and self._storage.size(pointer) is not None:
            location = _location(self._storage.read(pointer))
            if below(location, self.target) is not None and not (given and given.is_old(location)):
                return True
            return Misplaced(name, pointer, pointer, _root(location, inner) or location)
        found = place.copy_of(self._catalog, pointer, self.target)
        if found is not None:
            return Misplaced(name, pointer, found, _root(pointer, below(found, self.target)) or pointer)
        if not place.is_closed(self._catalog) and Storage(self._catalog, pointer).size(pointer) is not None:
            return False
        folders = (f"/{self._namespace}/{name}/", f"/{self._namespace}.db/{name}/", f"/{name}/", "/")
        return Misplaced(name, pointer, None, pointer.rpartition(next(each for each in folders if each in pointer))[0])

    def _of_folders(self, name: str) -> Iterator[Misplaced]:
        """A table that the catalog does not know, by the newest metadata file that names another place.

        Raises UsageError where two files are the newest, or two folders have the table.
        """
        below_target = self._storage.folders(self.target)
        folders = [folder for folder in below_target if self._storage.files(f"{folder}/{name}/metadata")]
        own = [each for each in folders if each.rpartition("/")[2] in (self._namespace, f"{self._namespace}.db")]
        chosen = own or folders
        if len(chosen) > 1:
            raise UsageError(f"it is in several folders, {chosen[0]} and {chosen[1]}; take one of them away")
        for folder in chosen:
            newest = self._newest_copy(f"{folder}/{name}/metadata")
            if newest is None:
                return
            path, location = newest
            root = _root(location, below(f"{folder}/{name}", self.target))
            if root is None:
                raise UsageError(
                    f"{path} names the folder {location}, which does not end like the folder that it is in"
                )
            yield Misplaced(name, None, path, root)

    def _newest_copy(self, folder: str) -> tuple[str, str] | None:
        """The newest metadata file in a folder that names another place, and that place. See `_of_folders`."""
        newest: int | None = None
        copies: list[tuple[int, str, str]] = []
        for version, path in registration.metadata_files(self._storage.files(folder)):
            if copies and copies[0][0] != version:
                break
            try:
                location = _location(self._storage.read(path))
            except ValueError:
                continue  # a run that was killed has left it
            newest = version if newest is None else newest
            if below(location, self.target) is None:
                copies.append((version, path, location))
            elif version < newest:
                return None  # the table has worked at the new place: it is no copy
        # A relocation that was killed may have left one version more than the copy has, which nothing names.
        if newest is None or not copies or copies[0][0] < newest - 1:
            return None
        if len(copies) > 1:
            raise UsageError(
                f"{copies[0][1]} and {copies[1][1]} are both its newest metadata; take away the one that the old"
                " catalog does not name"
            )
        return copies[0][1:]


def _url(path: str) -> str:
    """A place as a URL, from one or from a folder."""
    return path.rstrip("/") if "://" in path else f"file://{Path(path).expanduser().resolve()}"


def _location(content: bytes) -> str:
    return str(copied.parse(content)["location"]).rstrip("/")


def _root(path: str, end: str | None) -> str | None:
    """What is left of a path before its end; None where it has another one."""
    return path.removesuffix(end) if end is not None and path.endswith(end) else None


def _one_root(misplaced: Iterable[Misplaced]) -> str | None:
    """Where the misplaced tables lie; None without any. Those whose copy was found decide."""
    found = list(misplaced)
    roots = {place.plain(each.root): each.root for each in ([each for each in found if each.path] or found)}
    if len(roots) > 1:
        first, second, *_ = sorted(roots.values())
        raise UsageError(f"the tables lie at {first} and at {second}; name one of them with --from, then the other")
    return next(iter(roots.values()), None)

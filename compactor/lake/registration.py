"""What the catalog says about the tables of a namespace, and how it is made to name another metadata file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    TableAlreadyExistsError,
)
from pyiceberg.serializers import FromInputFile
from sqlalchemy import update
from sqlalchemy.orm import Session

from compactor.errors import CompactorError, ConflictError
from compactor.lake import place
from compactor.lake.copied import CopiedTable, Move, Storage

_METADATA = re.compile(
    r"v?(\d+)[^/]*\.metadata\.json|v?(\d+)[^/]*\.metadata\.json\.gz|v?(\d+)[^/]*\.gz\.metadata\.json"
)


def table_names(catalog: Catalog, namespace: str) -> list[str]:
    """The tables of a namespace, in order; none where it does not exist."""
    try:
        return sorted(identifier[-1] for identifier in catalog.list_tables(namespace))
    except NoSuchNamespaceError:
        return []


def swap(catalog: Catalog, namespace: str, table: CopiedTable, storage: Storage, path: str) -> None:
    """Makes the catalog name another metadata file of a table, if it still names the one that was looked at.

    Raises:
        ConflictError: it names another one by now. Nothing was changed.
        CompactorError: the catalog cannot do that.
    """
    identifier = f"{namespace}.{table.name}"
    if table.pointer is None:
        _register(catalog, namespace, table.name, path)
    elif isinstance(catalog, SqlCatalog):
        statement = (
            update(IcebergTables)
            .where(
                IcebergTables.catalog_name == catalog.name,
                IcebergTables.table_namespace == namespace,
                IcebergTables.table_name == table.name,
                IcebergTables.metadata_location == table.pointer,
            )
            .values(metadata_location=path, previous_metadata_location=table.path)
        )
        with Session(catalog.engine) as session:
            changed = session.execute(statement).rowcount  # type: ignore[attr-defined]  # of an update it has one
            session.commit()
        if changed != 1:
            raise _overtaken(identifier)
    elif hasattr(catalog, "glue"):
        _swap_in_glue(catalog, namespace, table, storage, path)
    else:
        try:
            catalog.register_table(identifier, path, overwrite=True)
        except Exception as error:
            raise CompactorError(
                f"the catalog does not replace the entry of {identifier} ({type(error).__name__}); drop it there, but"
                " not its files, then run again"
            ) from error


def _swap_in_glue(catalog: Catalog, namespace: str, table: CopiedTable, storage: Storage, path: str) -> None:
    from pyiceberg.catalog.glue import GlueCatalog, _construct_table_input

    assert isinstance(catalog, GlueCatalog)
    entry = catalog._get_glue_table(namespace, table.name)
    if entry.get("Parameters", {}).get("metadata_location") != table.pointer:
        raise _overtaken(f"{namespace}.{table.name}")
    metadata = FromInputFile.table_metadata(storage.io.new_input(path))
    new = _construct_table_input(table.name, path, metadata.properties, metadata, entry, table.path)
    try:
        catalog._update_glue_table(namespace, table.name, new, entry["VersionId"])
    except CommitFailedException as error:
        raise _overtaken(f"{namespace}.{table.name}") from error


def _register(catalog: Catalog, namespace: str, name: str, path: str) -> None:
    try:
        if not catalog.namespace_exists(namespace):
            catalog.create_namespace(namespace)
    except NamespaceAlreadyExistsError:
        pass  # another process was faster
    try:
        catalog.register_table(f"{namespace}.{name}", path)
    except TableAlreadyExistsError as error:
        raise _overtaken(f"{namespace}.{name}") from error


def move_namespace(catalog: Catalog, namespace: str, move: Move) -> None:
    """Moves the folder that a namespace has of its own: new tables would be created at the old place."""
    own = place.namespace_location(catalog, namespace)
    if own is not None and move.is_old(own):
        catalog.update_namespace_properties(namespace, updates={"location": move.new(own)})


def metadata_files(paths: Iterable[str]) -> list[tuple[int, str]]:
    """(version, path) of the metadata files among paths, the newest first."""
    matches = [(_METADATA.fullmatch(path.rpartition("/")[2]), path) for path in paths]
    return sorted(((int(match[1]), path) for match, path in matches if match), reverse=True)


def _overtaken(identifier: str) -> ConflictError:
    return ConflictError(f"{identifier}: another writer committed first")

"""PyIceberg's catalogs, of which each reads every version of a table's metadata once.

A catalog names a table's newest metadata file. Such a file never changes, so a load that finds the name of the file
that was read last needs no other look at it: the answer is as fresh as the catalog's. PyIceberg reads and parses it at
each load and at each commit, and makes a new client of the storage for each. In an old lake these files have megabytes.

Of each table the newest version alone is kept. The catalogs of a SQL database and of Glue have it so; any other is
PyIceberg's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.catalog import AVAILABLE_CATALOGS, Catalog, CatalogType, MetastoreCatalog
from pyiceberg.exceptions import NotInstalledError
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile, ToOutputFile
from pyiceberg.table import CommitTableResponse
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.typedef import EMPTY_DICT, Identifier, Properties

from compactor.lake.counted_files import count_files
from compactor.request_counts import RequestCounter

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import IcebergTables
    from pyiceberg.table.update import TableRequirement, TableUpdate

# Properties of tables that do not concern how their files are reached.
_OF_WRITERS = ("compactor.", "write.", "history.", "commit.", "schema.", "format-version")


class _Remembering(MetastoreCatalog):
    """What the catalogs have in common. It comes before PyIceberg's class in their bases."""

    requests: RequestCounter

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self.requests = RequestCounter()
        self._newest: dict[Identifier, IcebergTable] = {}
        self._ios: dict[tuple[tuple[str, str], ...], FileIO] = {}

    def _load_file_io(self, properties: Properties = EMPTY_DICT, location: str | None = None) -> FileIO:
        """One for all tables that are reached the same way: each has clients and connections of its own."""
        reached = {name: value for name, value in properties.items() if not name.startswith(_OF_WRITERS)}
        key = tuple(sorted(reached.items()))
        if key not in self._ios:
            io = super()._load_file_io(reached, location)
            count_files(io, self.requests)
            self._ios[key] = io
        return self._ios[key]

    @staticmethod
    def _write_metadata(metadata: TableMetadata, io: FileIO, metadata_path: str) -> None:
        """Does not ask first whether the file is there, which takes two requests on S3: its name has a new UUID."""
        ToOutputFile.table_metadata(metadata, io.new_output(metadata_path), overwrite=True)

    def _at(self, identifier: Identifier, location: str) -> IcebergTable:
        """A table by the metadata file that the catalog names."""
        known = self._newest.get(identifier)
        if known is None or known.metadata_location != location:
            metadata = FromInputFile.table_metadata(self._load_file_io(location=location).new_input(location))
            self.requests.add("metadata")
            io = self._load_file_io(metadata.properties, location)
            known = self._newest[identifier] = IcebergTable(identifier, metadata, location, io, self)
        return _again(known)

    def drop_table(self, identifier: str | Identifier) -> None:
        self._newest.pop(Catalog.identifier_to_tuple(identifier), None)
        super().drop_table(identifier)  # type: ignore[safe-super]  # of PyIceberg's class behind this one

    def commit_table(
        self, table: IcebergTable, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        done = super().commit_table(table, requirements, updates)  # type: ignore[safe-super]  # the same
        io = self._load_file_io(done.metadata.properties, done.metadata_location)
        self._newest[table.name()] = IcebergTable(table.name(), done.metadata, done.metadata_location, io, self)
        return done


def newest(catalog: Catalog, identifier: Identifier) -> IcebergTable | None:
    """A table as it was last loaded or committed, without a request. None if it was not, or if this is not kept."""
    known = catalog._newest.get(identifier) if isinstance(catalog, _Remembering) else None
    return _again(known) if known else None


def _again(table: IcebergTable) -> IcebergTable:
    """PyIceberg changes a table object when it commits; the metadata in it are never changed."""
    return IcebergTable(table.name(), table.metadata, table.metadata_location, table.io, table.catalog)


def opened(kind: CatalogType, name: str, properties: dict[str, str], requests: RequestCounter) -> Catalog:
    """Opens a catalog that counts its requests, and those to the tables' files, as far as it is one of these.

    Raises NotInstalledError where its driver is missing.
    """
    own = {CatalogType.SQL: _sql, CatalogType.GLUE: _glue}.get(kind)
    try:
        catalog = own()(name, **properties) if own else AVAILABLE_CATALOGS[kind](name, properties)
    except ImportError as error:
        raise NotInstalledError(str(error)) from error
    return counting(catalog, requests)


def counting(catalog: Catalog, requests: RequestCounter) -> Catalog:
    """Lets a catalog count its requests from now on, where it sends them: retries and reads of its own count too."""
    if isinstance(catalog, _Remembering):
        catalog.requests = requests
    parts: Any = catalog
    if hasattr(catalog, "engine"):  # of SQLAlchemy
        from sqlalchemy import event

        event.listen(parts.engine, "before_cursor_execute", lambda *_: requests.add("catalog"))
    elif hasattr(catalog, "glue"):  # a client of boto3
        parts.glue.meta.events.register("before-send.glue", lambda **_: requests.add("catalog"))
    elif hasattr(catalog, "_session"):  # of the package `requests`, to a REST catalog
        parts._session.hooks["response"].append(lambda *_, **__: requests.add("catalog"))
    return catalog


def _sql() -> type[Catalog]:
    from pyiceberg.catalog.sql import SqlCatalog

    class RememberingSqlCatalog(_Remembering, SqlCatalog):
        def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> IcebergTable:
            location = orm_table.metadata_location
            if not location:
                return super()._convert_orm_to_iceberg(orm_table)  # which says what is missing
            namespace = Catalog.identifier_to_tuple(orm_table.table_namespace)
            return self._at((*namespace, orm_table.table_name), location)

    return RememberingSqlCatalog


def _glue() -> type[Catalog]:
    from pyiceberg.catalog.glue import GlueCatalog

    class RememberingGlueCatalog(_Remembering, GlueCatalog):
        def _convert_glue_to_iceberg(self, glue_table: Any) -> IcebergTable:
            parameters = glue_table.get("Parameters", {})
            location, kind = parameters.get("metadata_location"), parameters.get("table_type", "")
            if not location or kind.lower() != "iceberg":
                return super()._convert_glue_to_iceberg(glue_table)  # which says what is missing
            return self._at((glue_table["DatabaseName"], glue_table["Name"]), location)

    return RememberingGlueCatalog

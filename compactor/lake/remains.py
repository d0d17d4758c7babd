"""What remains of a table that the catalog does not have, or of which it has an older copy.

A missing table is new, or it is gone. It is gone if anything shows that it was there: the marks, rows of its dataset in
the ledger, rows in the tables that are only made together with it, or metadata files where it would be made. A first
run that was killed leaves no such trace: it makes all tables of a dataset before it commits to one of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyarrow.fs import FileSelector, FileSystem, FileType
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table as IcebergTable

from compactor.errors import LostTableError, UnreadableError
from compactor.lake import file_inventory, marks
from compactor.lake.marks import Mark, Marks
from compactor.lake.own_tables import FILES, QUARANTINE, RUNS
from compactor.lake.table import Table

if TYPE_CHECKING:
    from compactor.lake.catalog import Lakehouse

log = logging.getLogger(__name__)

FIRST_OWN = (FILES, QUARANTINE, RUNS)
"""The program's own tables that each version of it has made. One of a later version may be new in an old lake."""
REPAIR = "`compactor verify --repair` shows what can be put back"
_NAME = re.compile(r"v?(\d+)(?:-[^/]*)?(?:\.gz)?\.metadata\.json(?:\.gz)?")
_NEWEST = 3  # versions of the metadata to look at: the last one may be of a commit that was killed


@dataclass(frozen=True)
class MetadataFile:
    """A metadata file of a table, by its version number."""

    version: int
    path: str


def refuse_if_gone(lake: Lakehouse, name: str, *, dataset: str | None = None, made_with: Sequence[str] = ()) -> None:
    """Raises LostTableError where a table that the catalog does not have was there before.

    Args:
        dataset: whose table it is; None for the program's own.
        made_with: tables that have no rows before this one was made.
    """
    trace = trace_of(lake, name, dataset=dataset, made_with=made_with)
    # A run at the same time makes its tables before it leaves a trace: then the table is there by now.
    if trace and not lake.exists(name):
        raise LostTableError(name, *gone(lake, name, trace))


def gone(lake: Lakehouse, name: str, trace: str) -> tuple[str, str]:
    """What is wrong with a table that is gone, and the next step."""
    other = renamed(lake, name)
    called = f"; it seems to be called {lake.namespace}.{other} now" if other else ""
    return f"the table is gone from the catalog, but {trace}{called}", (
        f"rename it back, or let {REPAIR}" if other else f"put the catalog's entry back; {REPAIR}"
    )


def trace_of(lake: Lakehouse, name: str, *, dataset: str | None, made_with: Sequence[str]) -> str | None:
    """What shows that a table was there, as a clause; None if nothing does."""
    found = marks_of(lake)
    if found and name in found.unmade:
        return None
    if found and name in found.tables and found.tables[name].sequence:  # without rows there is nothing to lose
        return f"it was there at the end of run {found.run_id}"
    if dataset and name != FILES and has_objects(lake, dataset):
        return f"the ledger has objects of {dataset}"
    for other in made_with:
        table = _found(lake, other)
        if table is not None and table.snapshot_id is not None:
            return f"{other} has rows"
    for location in locations(lake, name):
        for file in metadata_files(lake, location):
            if file.version > 0 or _has_rows(lake, name, file):
                return f"its files are in {location}"
    return None


def _has_rows(lake: Lakehouse, name: str, file: MetadataFile) -> bool:
    """False too for a file that cannot be read: another first run is writing it, or was killed at that."""
    try:
        return load(lake, name, file.path).snapshot_id is not None
    except Exception as error:  # noqa: BLE001  what is not whole shows in many ways
        log.debug("%s cannot be read: %s", file.path, type(error).__name__)
        return False


def marks_of(lake: Lakehouse) -> Marks | None:
    """The lake's marks, also where the ledger is gone."""
    ledger = lake.seen(FILES) or _found(lake, FILES)
    if ledger is not None:
        return marks.read(ledger._iceberg.io, ledger.location)
    for location in locations(lake, FILES):
        if any(path.endswith(f"/{marks.NOTES}") for path, _ in _listing(lake, location)):
            return marks.read(_io(lake, location), location)
    return None


def has_objects(lake: Lakehouse, dataset: str) -> bool:
    """Whether the ledger has an object of a dataset."""
    ledger = _found(lake, FILES)
    if ledger is None or ledger.snapshot_id is None:
        return False
    return any(batch.num_rows for batch in ledger.scan(["dataset"], where={"dataset": dataset}).batches)


def _found(lake: Lakehouse, name: str) -> Table | None:
    """A table that the catalog has and that can be loaded."""
    try:
        return lake.find(name)
    except UnreadableError:
        return None


def locations(lake: Lakehouse, name: str) -> list[str]:
    """Where a table would be made, and where it would lie beside the program's own tables."""
    beside = (table.location.rsplit("/", 1)[0] for own in FIRST_OWN if own != name and (table := _found(lake, own)))
    found = [_default_location(lake, name), *(f"{folder}/{name}" for folder in beside)]
    return list(dict.fromkeys(location for location in found if location))


def _default_location(lake: Lakehouse, name: str) -> str | None:
    """None where only the catalog's server knows."""
    catalog = lake._catalog
    resolve = getattr(catalog, "_resolve_table_location", None)
    if resolve is None:
        return None
    try:
        return str(resolve(None, lake.namespace, name))
    except Exception as error:  # noqa: BLE001  no such namespace, or no permission, which making a table will report
        log.debug("where %s would be made is not known by the catalog: %s", name, type(error).__name__)
    warehouse = catalog.properties.get("warehouse", "").rstrip("/")
    style = ".db" if hasattr(catalog, "glue") else ""
    return f"{warehouse}/{lake.namespace}{style}/{name}" if warehouse else None


def _io(lake: Lakehouse, location: str) -> FileIO:
    return lake._catalog._load_file_io(location=location)


def _listing(lake: Lakehouse, location: str) -> Iterator[tuple[str, FileType]]:
    """The (path, type) of what lies directly below a location."""
    io = _io(lake, location)
    scheme, netloc, root = io.parse_location(location)  # type: ignore[attr-defined]  # of PyArrow's FileIO
    system: FileSystem = io.fs_by_scheme(scheme, netloc)  # type: ignore[attr-defined]
    for info in system.get_file_info(FileSelector(root, allow_not_found=True)):
        yield info.path, info.type


def metadata_files(lake: Lakehouse, location: str) -> list[MetadataFile]:
    """The metadata files below a table's location, the newest version first."""
    folder = f"{location}/metadata"
    names = (path.rsplit("/", 1)[-1] for path, _ in _listing(lake, folder))
    found = [MetadataFile(int(match[1]), f"{folder}/{name}") for name in names if (match := _NAME.fullmatch(name))]
    return sorted(found, key=lambda file: (-file.version, file.path))


def load(lake: Lakehouse, name: str, path: str) -> Table:
    """The table that a metadata file describes, whether or not the catalog knows the file. To read only."""
    io = _io(lake, path)
    metadata = FromInputFile.table_metadata(io.new_input(path))
    loaded = IcebergTable((lake.namespace, name), metadata, path, io, lake._catalog)
    return Table(lake._catalog, f"{lake.namespace}.{name}", loaded)


def is_older_copy(lake: Lakehouse, table: Table) -> bool:
    """Whether metadata files show commits that came after the one that the catalog names.

    A commit that was killed leaves one such file, of the next version. Only the table's own commits leave more.
    """
    named = table.metadata_location.rsplit("/", 1)[-1]
    match = _NAME.fullmatch(named)
    if match is None:  # a name of another catalog's own
        return False
    for file in metadata_files(lake, table.location):
        if file.version < int(match[1]) + 2:
            return False
        try:
            later = load(lake, table.name, file.path)._iceberg.metadata
        except Exception as error:  # noqa: BLE001  what is not whole shows in many ways
            log.debug("%s cannot be read: %s", file.path, type(error).__name__)
            continue
        if any(entry.metadata_file.endswith(f"/{named}") for entry in later.metadata_log):
            return True
    return False


def newest(lake: Lakehouse, name: str, mark: Mark | None) -> Table | None:
    """The newest state of a table by its files: all files that it needs to be read are there. None if there is none.

    Args:
        mark: what it was at the end of the last run; an older state does not count.
    """
    for location in locations(lake, name):
        files = metadata_files(lake, location)
        versions = sorted({file.version for file in files}, reverse=True)[:_NEWEST]
        tables = [table for file in files if file.version in versions and (table := _readable(lake, name, file))]
        # Of two files of one version one is of a commit that did not land. The one that the marks name did.
        tables.sort(
            key=lambda table: (
                Mark.of(table).sequence,
                mark is not None and Mark.of(table).metadata == mark.metadata,
                table._iceberg.metadata.last_updated_ms,
            ),
            reverse=True,
        )
        for table in tables:
            if mark is None or mark.is_reached_by(Mark.of(table)):
                return table
    return None


def _readable(lake: Lakehouse, name: str, file: MetadataFile) -> Table | None:
    """The table of a metadata file; None if that or a file that it needs cannot be read."""
    try:
        table = load(lake, name, file.path)
        whole = not file_inventory.take(table).unreadable
    except Exception as error:  # noqa: BLE001  a damaged file shows in many ways
        log.debug("%s cannot be used: %s", file.path, type(error).__name__)
        return None
    return table if whole else None


def renamed(lake: Lakehouse, name: str) -> str | None:
    """Another table of the namespace that is this one, with all that the last run left: what it is called now."""
    marked = marks_of(lake)
    mark = marked.tables.get(name) if marked else None
    expected = set(locations(lake, name))
    try:
        others = sorted(each[-1] for each in lake._catalog.list_tables(lake.namespace))
    except Exception as error:  # noqa: BLE001  a permission to list is not needed for anything else
        log.debug("the tables of %s cannot be listed: %s", lake.namespace, type(error).__name__)
        return None
    found: dict[str, int] = {}
    for other in others:
        try:
            table = lake.find(other)
        except Exception:  # noqa: BLE001, S112  of any table of anybody
            continue
        if table is None or other == name:
            continue
        now = Mark.of(table)
        if mark.is_reached_by(now) if mark else table.location in expected:
            found[str(other)] = now.sequence
    return max(found, key=lambda other: found[other], default=None)


def rename(lake: Lakehouse, other: str, name: str) -> None:
    """Gives a table its name back."""
    lake._catalog.rename_table(f"{lake.namespace}.{other}", f"{lake.namespace}.{name}")
    log.info("table %s.%s is called %s again", lake.namespace, other, name)


def register(lake: Lakehouse, table: Table) -> None:
    """Lets the catalog name a table's metadata file, in place of the entry that it has, if any. No file is changed."""
    catalog = lake._catalog
    if not catalog.namespace_exists(lake.namespace):
        catalog.create_namespace(lake.namespace)
    if not lake.exists(table.name):
        catalog.register_table(table.identifier, table.metadata_location)
    elif hasattr(catalog, "glue"):
        _update_glue_entry(catalog, lake.namespace, table)
    else:  # no catalog of PyIceberg registers over an entry
        catalog.drop_table(table.identifier)
        catalog.register_table(table.identifier, table.metadata_location)
    log.info("table %s is registered again, from %s", table.identifier, table.metadata_location)


def _update_glue_entry(catalog: Any, database: str, table: Table) -> None:
    """In place: the entry keeps its permissions, and Glue its older versions."""
    from pyiceberg.catalog.glue import _construct_table_input  # noqa: PLC0415  needs boto3, which Glue's users have

    entry = catalog._get_glue_table(database, table.name)
    metadata, before = table._iceberg.metadata, entry["Parameters"].get("metadata_location")
    request = _construct_table_input(table.name, table.metadata_location, {}, metadata, entry, before)
    catalog._update_glue_table(database, table.name, request, entry["VersionId"])

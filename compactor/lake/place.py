"""Where tables lie and where the config says that they do: a lake that was moved or copied is not loaded by mistake.

A catalog records places as absolute paths. After its folder was copied, the catalog of the copy still names the files
of the original, and a run would write there. So each load of a table checks the place (`Table`):

- A SQL catalog whose warehouse is a local folder, as the embedded one: all tables lie inside the warehouse.
- Any other catalog that names a warehouse by a URL: tables may lie elsewhere. But one whose metadata is gone there, or
  has a copy inside the warehouse, was moved or copied.
"""

from __future__ import annotations

import os
import re
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError
from pyiceberg.io import load_file_io

from compactor.errors import MisplacedTableError

_SAME_SCHEME = {"s3a": "s3", "s3n": "s3"}


def plain(path: str) -> str:
    """A path to compare: a local one without scheme, any other with the one name of its scheme; no slash at the end."""
    local = re.match(r"(?:file:(?://)?)?(/.*)", path)
    if local:
        return os.path.normpath(local[1])
    scheme, separator, rest = path.partition("://")
    return f"{_SAME_SCHEME.get(scheme, scheme)}{separator}{rest.rstrip('/')}"


def is_local(path: str) -> bool:
    return plain(path).startswith("/")


def below(path: str, root: str) -> str | None:
    """What is left of a path after a folder that it is in: "" or "/…"; None where it lies elsewhere."""
    path, root = plain(path), plain(root).rstrip("/")
    return path[len(root) :] if path == root or path.startswith(f"{root}/") else None


def inside(path: str, root: str) -> bool:
    """Whether a path lies in a folder, by its name or, of a local one, by where links lead."""
    if below(path, root) is not None:
        return True
    if not (is_local(path) and is_local(root)):
        return False
    return below(os.path.realpath(plain(path)), os.path.realpath(plain(root))) is not None


def warehouse(catalog: Catalog) -> str | None:
    """The warehouse that the config names, as a URL without a slash at its end; None where that is none, or a name."""
    found = catalog.properties.get("warehouse", "").rstrip("/")
    return found if "://" in found or found.startswith("/") else None


def is_closed(catalog: Catalog) -> bool:
    """Whether no table may lie outside of the warehouse."""
    root = warehouse(catalog)
    return _is_sql(catalog) and root is not None and is_local(root)


def _is_sql(catalog: Catalog) -> bool:
    return hasattr(catalog, "engine")  # of SQLAlchemy


def pointer(catalog: Catalog, identifier: str) -> str | None:
    """Where the catalog has a table's metadata, without a look at it; None where the catalog does not say."""
    namespace, name = identifier.rsplit(".", 1)
    if _is_sql(catalog):
        from pyiceberg.catalog.sql import IcebergTables
        from sqlalchemy import select
        from sqlalchemy.orm import Session

        with Session(catalog.engine) as session:  # type: ignore[attr-defined]
            return session.scalar(
                select(IcebergTables.metadata_location).where(
                    IcebergTables.catalog_name == catalog.name,
                    IcebergTables.table_namespace == namespace,
                    IcebergTables.table_name == name,
                )
            )
    glue: Any = getattr(catalog, "glue", None)
    if glue is None:
        return None
    found: str | None = glue.get_table(DatabaseName=namespace, Name=name)["Table"]["Parameters"].get(
        "metadata_location"
    )
    return found


def namespace_location(catalog: Catalog, namespace: str) -> str | None:
    """The folder of a namespace that has one of its own."""
    try:
        return catalog.load_namespace_properties(namespace).get("location")
    except NoSuchNamespaceError:
        return None


def check_new(catalog: Catalog, identifier: str) -> None:
    """Raises MisplacedTableError where a new table would lie outside of a closed warehouse."""
    root = warehouse(catalog)
    own = namespace_location(catalog, identifier.rsplit(".", 1)[0]) if is_closed(catalog) else None
    if own and root and not inside(own, root):
        raise MisplacedTableError(identifier, own, root)


def check(catalog: Catalog, identifier: str, location: str, metadata_location: str) -> None:
    """Raises MisplacedTableError where a table that was loaded lies elsewhere than the config says."""
    root = warehouse(catalog)
    if root is None or (inside(location, root) and inside(metadata_location, root)):
        return
    if _is_of_namespace(catalog, identifier, location):
        return
    if is_closed(catalog) or copy_of(catalog, metadata_location, root) is not None:
        raise MisplacedTableError(identifier, location, root)


def check_unreadable(catalog: Catalog, identifier: str, error: OSError) -> None:
    """As `check`, of a table whose metadata cannot be read where the catalog has it."""
    root = warehouse(catalog)
    if root is None or not (is_closed(catalog) or isinstance(error, FileNotFoundError)):
        return  # it may be there, and only be forbidden
    recorded = pointer(catalog, identifier)
    if recorded is None or inside(recorded, root) or _is_of_namespace(catalog, identifier, recorded):
        return
    raise MisplacedTableError(identifier, recorded.rpartition("/metadata/")[0] or recorded, root) from error


def _is_of_namespace(catalog: Catalog, identifier: str, path: str) -> bool:
    """Whether a path lies in the folder that a namespace has of its own, and may have."""
    own = None if is_closed(catalog) else namespace_location(catalog, identifier.rsplit(".", 1)[0])
    return own is not None and inside(path, own)


def copy_of(catalog: Catalog, path: str, root: str) -> str | None:
    """The copy of a file below another root, at the same place relative to it; None where there is none.

    The names of metadata files are unique, so the longest end of the path that is there is the right one.
    """
    parts = plain(path).partition("://")[2] or plain(path)
    names = parts.strip("/").split("/")
    io = load_file_io({**catalog.properties}, location=root)
    for start in range(max(0, len(names) - 5), len(names) - 1):
        candidate = "/".join([root.rstrip("/"), *names[start:]])
        try:
            if io.new_input(candidate).exists():
                return candidate
        except OSError:
            continue  # not readable: it proves nothing
    return None

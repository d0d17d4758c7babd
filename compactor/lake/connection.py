"""Opens the catalog, from this program's config alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlparse

from pyiceberg.catalog import Catalog, CatalogType, _import_catalog, infer_catalog_type
from pyiceberg.exceptions import NotInstalledError
from tenacity import retry, retry_if_not_exception_type, stop_after_attempt, wait_random_exponential

from compactor import diagnose
from compactor.config import Config
from compactor.errors import CompactorError, UsageError
from compactor.lake import catalogs
from compactor.lake.synced_files import IMPLEMENTATION, make_folder
from compactor.request_counts import RequestCounter

# It announces each FileIO that it makes.
logging.getLogger("pyiceberg.io").setLevel(logging.WARNING)

# Seconds, for the tables' bucket. Arrow's S3 client has 1 and 3 by default, which abort large files on a busy line.
_TIMEOUTS = {"s3.connect-timeout": "10", "s3.request-timeout": "60"}


def connect(config: Config, requests: RequestCounter) -> Catalog:
    """Opens the catalog of a config, and makes the folder of an embedded one.

    Args:
        requests: counts what the catalog, and the storage of its tables, are asked for.

    Raises:
        UsageError: `catalog.properties` do not say which catalog, or its driver is missing.
        CompactorError: it cannot be reached.
    """
    properties = _TIMEOUTS | config.catalog_properties()
    uri, warehouse = properties.get("uri", ""), properties.get("warehouse", "")
    if uri.startswith("sqlite:///"):
        make_folder(Path(urlparse(uri).path.removeprefix("/")).parent)
    if warehouse.startswith("s3") or (config.tables.fsync and warehouse.startswith(("file:", "/"))):
        properties.setdefault("py-io-impl", IMPLEMENTATION)
    doing = f"cannot open the catalog {config.catalog.name!r}"
    if wrong := _mistake(properties):
        raise UsageError(f"{config.path}: {doing}: {wrong}; correct catalog.properties, see docs/catalogs.md")
    try:
        return _retried(lambda: _open(config.catalog.name, properties, requests))
    except Exception as error:
        reason = diagnose.reason(error)
        if reason:
            raise CompactorError(f"{doing}: {reason}") from error
        if isinstance(error, NotInstalledError):
            raise UsageError(
                f"{doing}: its driver is not installed; for PostgreSQL: pip install '.[postgres]', see docs/catalogs.md"
            ) from error
        raise CompactorError(
            f"{doing} ({type(error).__name__}); check catalog.properties in {config.path}, and the credentials"
        ) from error


def _mistake(properties: Mapping[str, str]) -> str | None:
    """What is wrong with the properties of a catalog, without their values: these can hold a password."""
    kind = properties.get("type", "").lower()
    if "py-catalog-impl" in properties:
        return "'type' and 'py-catalog-impl' exclude each other" if kind else None
    kinds = [each.value for each in CatalogType]
    if kind and kind not in kinds:
        return f"'{kind}' is no type of catalog; there are {', '.join(kinds)}"
    if not properties.get("uri"):
        return "'uri' is missing" if kind in ("", "rest", "hive", "sql") else None
    if not kind and not properties["uri"].startswith(("http", "thrift", "sqlite", "postgresql")):
        return "'type' is missing, and the 'uri' does not show it"
    return None


def _open(name: str, properties: dict[str, str], requests: RequestCounter) -> Catalog:
    """As PyIceberg's `load_catalog`, which would add what the user has under the same name (see `library`)."""
    if implementation := properties.get("py-catalog-impl"):
        found = _import_catalog(name, implementation, properties)
        if found is None:
            raise NotInstalledError(implementation)
        return catalogs.counting(found, requests)
    kind = (
        CatalogType(properties["type"].lower()) if properties.get("type") else infer_catalog_type(name, {**properties})
    )
    assert kind is not None  # else there was a mistake
    return catalogs.opened(kind, name, properties, requests)


@retry(
    stop=stop_after_attempt(4),
    wait=wait_random_exponential(multiplier=0.1, max=2),
    retry=retry_if_not_exception_type((CompactorError, ValueError, ImportError, NotInstalledError)),
    reraise=True,
)
def _retried(connect: Callable[[], Catalog]) -> Catalog:
    # Two processes that create a SQL catalog's own tables at the same time can collide once.
    return connect()

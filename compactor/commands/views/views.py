"""`views`: prints the statements that create the views in an engine, or runs them.

The statements run in Athena and Trino only, because these accept a statement over HTTP. For Spark, the printed
statements go into its own shell.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from compactor.config import Config
from compactor.errors import MissingTableError, UsageError
from compactor.lake.catalog import Lakehouse
from compactor.registry.loader import Registry
from compactor.reports.views import View, ViewsReport
from compactor.views import definition
from compactor.views import dialect as dialects
from compactor.views.dialect import Dialect

log = logging.getLogger(__name__)

Create = Callable[[View], None]
"""Creates a view in an engine. Raises CompactorError."""


def views(
    config: Config,
    registry: Registry,
    *,
    dialect: Dialect,
    names: tuple[str, ...] = (),
    apply: bool = False,
    server: str | None = None,
    workgroup: str | None = None,
    output: str | None = None,
) -> ViewsReport:
    """Renders the views and, with `apply`, creates them in the engine.

    Args:
        dialect: the engine.
        names: only these views and those that they need. Default: all. A view that the tables do not allow is skipped
            with a warning; one of `names` is an error.
        apply: create the views.
        server, workgroup, output: where to create them; see `trino_client.connect` and `athena_client.connect`.

    Raises:
        UsageError: an unknown view, a view that does not fit the tables, or an engine that `apply` does not support.
        ConfigError: mistakes in the folder of views.
        MissingTableError: a view needs a table that does not exist yet.
        CompactorError: the catalog cannot be read, or the engine refuses a statement.
    """
    create = _connect(config, dialect, server, workgroup, output) if apply else None
    definitions = definition.load(config.views)
    lake = Lakehouse(config)
    qualifier = dialects.qualifier(dialect, config.catalog.name, config.namespace)
    rendered, left_out = definition.render(definitions, lake.columns(registry), dialect, qualifier, names)
    for each in left_out:
        log.warning("skipped view %s: %s", each.name, each.reason)
    if create:
        _check_tables(lake, {need for view in rendered for need in definitions[view.name].needs} - definitions.keys())
        for view in rendered:
            create(view)
            log.info("created view %s.%s", config.namespace, view.name)
    return ViewsReport(dialect, config.namespace, tuple(rendered), tuple(left_out), made=create is not None)


def _check_tables(lake: Lakehouse, names: set[str]) -> None:
    for name in sorted(names):
        if not lake.exists(name):
            raise MissingTableError(f"table {lake.namespace}.{name} does not exist yet; run `compactor compact` first")


def _connect(config: Config, dialect: Dialect, server: str | None, workgroup: str | None, output: str | None) -> Create:
    """Raises UsageError for an engine that is not supported here, or a missing option."""
    if dialect == "athena":
        from compactor.commands.views import athena_client

        return athena_client.connect(config.catalog.properties, config.namespace, workgroup, output)
    if dialect == "trino":
        from compactor.commands.views import trino_client

        if not server:
            raise UsageError("--apply --dialect trino needs --server http://user@host:port/catalog")
        return trino_client.connect(server)
    if dialect == "duckdb":
        raise UsageError("there is nothing to create in DuckDB: `compactor query` knows the views by their names")
    raise UsageError("--apply does not support Spark; pipe what is printed without --apply into `spark-sql`")

"""The verb `views`: prints the statements that make the views in an engine, or has them made.

What a view asks is in its recipe (`recipe`), how the engine wants it said in `dialect`. Only Athena and Trino are made
here, because there a statement sent over HTTP is all it takes; Spark's own shell takes what is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from compactor.config import Config
from compactor.errors import MissingTableError, UsageError
from compactor.lake.catalog import Lakehouse
from compactor.registry.loader import Registry
from compactor.reports.report import View, ViewsReport
from compactor.views import definition
from compactor.views import dialect as dialects
from compactor.views.dialect import Dialect

log = logging.getLogger(__name__)

Run = Callable[[View], None]
"""Makes a view in an engine. Raises CompactorError."""


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
    """The statements of the views (`names`: of these and what they need) and, with `apply`, the views themselves.

    A view that the tables have not what it takes for is left out, and told; one that was named is refused.

    Raises:
        UsageError: an unknown view, one that does not fit the tables, or an engine in which none can be made from here.
        ConfigError: mistakes in the folder of views.
        CompactorError: the catalog cannot be read, a table is not there yet, or the engine refuses.
    """
    run = _engine(config, dialect, server, workgroup, output) if apply else None
    recipes = definition.load(config.views)
    lake = Lakehouse(config)
    place = dialects.place(dialect, config.catalog.name, config.namespace)
    made, left_out = definition.render(recipes, lake.columns(registry), dialect, place, names)
    for missing in left_out:
        log.warning("left out %s: %s", missing.name, missing.reason)
    if run:
        _check_tables(lake, {table for view in made for table in recipes[view.name].needs} - recipes.keys())
        for view in made:
            run(view)
            log.info("made view %s.%s", config.namespace, view.name)
    return ViewsReport(dialect, config.namespace, tuple(made), tuple(left_out), made=run is not None)


def _check_tables(lake: Lakehouse, names: set[str]) -> None:
    for name in sorted(names):
        if not lake.exists(name):
            raise MissingTableError(f"table {lake.namespace}.{name} does not exist yet; run `compactor compact` first")


def _engine(config: Config, dialect: Dialect, server: str | None, workgroup: str | None, output: str | None) -> Run:
    """What makes a view there. Raises UsageError where nothing does, or an option is missing."""
    if dialect == "athena":
        from compactor.commands.views import athena_client

        return athena_client.connect(config.catalog.properties, config.namespace, workgroup, output)
    if dialect == "trino":
        from compactor.commands.views import trino_client

        if not server:
            raise UsageError("--apply --dialect trino needs --server http://user@host:port/catalog")
        return trino_client.connect(server)
    if dialect == "duckdb":
        raise UsageError("there is nothing to make: `compactor query` knows the views by their names")
    raise UsageError("views are not made in Spark from here; pipe what is printed without --apply into `spark-sql`")

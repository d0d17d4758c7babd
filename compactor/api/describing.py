"""The methods of a lake that draft and check its registry, and write its views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compactor.api.base import OpenLake, as_names, first_hour, in_range, last_hour

if TYPE_CHECKING:
    from compactor.reports.data import InferReport, RegistryCheckReport
    from compactor.reports.views import ViewsReport
    from compactor.source import Hour
    from compactor.views.dialect import Dialect


class Describing(OpenLake):
    """What the verbs `infer` and `views` do."""

    def infer(
        self,
        datasets: str | Sequence[str] = (),
        *,
        start: str | Hour | None = None,
        stop: str | Hour | None = None,
        objects: int = 50,
        out: str | Path | None = None,
    ) -> InferReport:
        """Drafts registry files from a sample of the source. Needs neither a registry nor tables.

        Args:
            datasets: names of dataset folders of the source; empty: all.
            start, stop: as for `compact`.
            objects: the maximum number of objects to read per dataset, at most 1,000,000.
            out: the folder to write NAME.yaml into; None: write nothing.

        Raises:
            UsageError: no such folder in the source, a number outside of its limits, or a file in `out` that exists and
                differs.
            SourceError: the source cannot be read.
        """
        from compactor.commands.infer.infer import infer

        in_range("objects", objects, 1, 1_000_000)

        return infer(
            self.config,
            datasets=as_names(datasets),
            start=first_hour(start),
            stop=last_hour(stop),
            objects=objects,
            out=None if out is None else Path(out),
        )

    def infer_check(
        self,
        datasets: str | Sequence[str] = (),
        *,
        start: str | Hour | None = None,
        stop: str | Hour | None = None,
        objects: int = 50,
    ) -> RegistryCheckReport:
        """Checks the registry against a sample of the source. Arguments and errors are those of `infer`."""
        from compactor.commands.infer.registry_check import check

        in_range("objects", objects, 1, 1_000_000)

        return check(
            self.config,
            self.registry,
            datasets=as_names(datasets),
            start=first_hour(start),
            stop=last_hour(stop),
            objects=objects,
        )

    def views(
        self,
        dialect: Dialect = "athena",
        names: str | Sequence[str] = (),
        *,
        apply: bool = False,
        workgroup: str | None = None,
        output: str | None = None,
        server: str | None = None,
    ) -> ViewsReport:
        """The statements that create the views in an engine; with `apply`, also creates them in Athena or Trino.

        Args:
            dialect: the engine.
            names: only these views and those that they need; empty: all.
            workgroup, output: Athena's workgroup, and the S3 URL for its results if the workgroup has none.
            server: Trino, as "http://user@host:port/catalog".

        Raises:
            UsageError: an unknown view, one that does not fit the tables, or an engine that `apply` does not support.
            ConfigError: mistakes in the folder of views.
            CompactorError: the catalog cannot be read, or the engine refuses a view.
        """
        from compactor.commands.views.views import views

        return views(
            self.config,
            self.registry,
            dialect=dialect,
            names=as_names(names),
            apply=apply,
            server=server,
            workgroup=workgroup,
            output=output,
        )

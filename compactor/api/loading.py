"""The methods of a lake that load records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compactor.api.base import OpenLake, as_names, first_hour, last_hour, or_null

if TYPE_CHECKING:
    from compactor.config import EngineName, IfRunning
    from compactor.progress import Progress
    from compactor.reports.report import RunReport
    from compactor.source import Hour


class Loading(OpenLake):
    """What the verbs `compact` and `replay` do."""

    def compact(
        self,
        datasets: str | Sequence[str] = (),
        *,
        start: str | Hour | None = None,
        stop: str | Hour | None = None,
        full_scan: bool = False,
        if_running: IfRunning | None = None,
        engine: EngineName | None = None,
        allow_empty_source: bool = False,
        progress: Progress | None = None,
    ) -> RunReport:
        """Loads all pending objects into the tables: the nightly job.

        Args:
            datasets: names of datasets; empty: all of the registry.
            start, stop: the first and the last UTC hour to load, both inclusive: "2026-11-01T05", or a day such as
                "2026-11-01", which means its first hour as `start` and its last hour as `stop`.
            full_scan: list all hours instead of those that can have new objects. Not together with `start`.
            if_running: what to do if another run is in progress; None: as the config says.
            engine: what reads and merges; None: as the config says.
            allow_empty_source: a source without any export is no failure.
            progress: receives the progress of the run; None: nobody does.

        Returns:
            Counts per dataset, and `problems`: each dataset ends on its own, so a failure of one is a problem and no
            error. `exit_code`: 1 if a dataset failed or an object was left pending, else 3 if a line was quarantined,
            else 0.

        Raises:
            UsageError: an unknown dataset, arguments that contradict each other, or tables of which none fits the
                registry.
            SourceError: the source as a whole cannot be listed.
            CompactorError: the catalog, or the storage of the program's own tables, failed.
        """
        from compactor.commands.compact import compact

        return compact(
            self.config,
            self.registry,
            datasets=as_names(datasets),
            start=first_hour(start),
            stop=last_hour(stop),
            full_scan=full_scan,
            if_running=if_running,
            engine=engine,
            allow_empty_source=allow_empty_source,
            progress=or_null(progress),
        )

    def replay(
        self,
        datasets: str | Sequence[str] = (),
        *,
        if_running: IfRunning | None = None,
        progress: Progress | None = None,
    ) -> RunReport:
        """Reads the quarantined lines again with the registry of today. `lines` of the report are the lines read again.

        Arguments and errors are those of `compact`.
        """
        from compactor.commands.replay import replay

        return replay(
            self.config,
            self.registry,
            datasets=as_names(datasets),
            if_running=if_running,
            progress=or_null(progress),
        )

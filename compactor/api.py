"""The Python API: what the verbs of the command line do, as functions that return the same reports.

The command line calls this module, so there is one way into each verb. Public names are those of `compactor.__all__`.

Nothing here is imported before it is needed: `import compactor` loads neither Arrow, DuckDB, PyIceberg nor an SDK.
All methods run in this process and block until they are done. Log records go to the logger `compactor`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table as IcebergTable

    from compactor.commands.init import InitReport
    from compactor.config import Config, EngineName, IfRunning
    from compactor.progress import Progress
    from compactor.registry.loader import Registry
    from compactor.reports.data import DriftReport, FitReport, InferReport
    from compactor.reports.migration import MigrationPlan, MigrationReport, RollbackReport
    from compactor.reports.report import RunReport, StatusReport, VerifyReport, ViewsReport
    from compactor.source import Hour
    from compactor.views.dialect import Dialect


def open(config: str | Path) -> Lake:
    """Opens the lake of a config file. Only the config is read now; a method opens the tables when it needs them.

    Raises:
        UsageError: there is no such file.
        ConfigError: the file has mistakes; `problems` lists all of them.
    """
    from compactor.config import load

    return Lake(load(Path(config)))


def init(folder: str | Path = ".", *, aws: bool = False, registry: bool = False) -> InitReport:
    """Writes a config for a new lake into `folder`, and a reference of all its keys beside it.

    Args:
        folder: made if it does not exist.
        aws: a config for S3 and Glue instead of one for this machine.
        registry: also copies the registry and the views, for editing; the config then refers to the copies.

    Raises:
        UsageError: a file is already there (nothing is written then), or the folder cannot be written.
    """
    from compactor.commands.init import init

    return init(Path(folder), aws=aws, registry=registry)


class Lake:
    """A lake: its source, its registry and its tables, as one config describes them.

    An instance holds no connection. Each call opens the catalog again, so that it sees what other runs have committed.
    It can be used from several threads, except for methods that share one `progress`.

    Every method raises CompactorError, or one of its subclasses, for a failure with a known cause. The message names
    the next step and contains no content of records. UsageError means: correct the call or the config. Any other
    CompactorError means: nothing partial was published, and the same call can be made again.

    Attributes:
        config: the config, checked. It cannot be changed.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    def __repr__(self) -> str:
        return f"<Lake {self.config.path}, namespace {self.config.namespace!r}>"

    @cached_property
    def registry(self) -> Registry:
        """The registry of the config, read at first use. Raises ConfigError with all mistakes of all its files."""
        from compactor.registry.loader import load

        return load(self.config.schemas)

    def compact(
        self,
        datasets: str | Sequence[str] = (),
        *,
        start: str | Hour | None = None,
        stop: str | Hour | None = None,
        full_scan: bool = False,
        if_running: IfRunning | None = None,
        engine: EngineName | None = None,
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
            progress: receives the progress of the run; None: nobody does.

        Returns:
            Counts per dataset. `exit_code`: 1 if an object was left pending, else 3 if a line was quarantined, else 0.

        Raises:
            UsageError: an unknown dataset, or arguments that contradict each other.
            SourceError: the source cannot be listed.
            CompactorError: the catalog or the storage of the tables failed.
        """
        from compactor.commands.compact import compact

        return compact(
            self.config,
            self.registry,
            datasets=_names(datasets),
            start=_first_hour(start),
            stop=_last_hour(stop),
            full_scan=full_scan,
            if_running=if_running,
            engine=engine,
            progress=_or_null(progress),
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
            datasets=_names(datasets),
            if_running=if_running,
            progress=_or_null(progress),
        )

    def status(self) -> StatusReport:
        """Tables, pending objects, the last runs and the quarantine. Changes nothing.

        Raises SourceError if the source cannot be listed, CompactorError if the catalog or the storage failed.
        """
        from compactor.commands.status import status

        return status(self.config, self.registry)

    def verify(self, *, rebuild: bool = False, files: bool = False) -> VerifyReport:
        """Checks that ids and keys are unique and that the sums of the ledger hold. Changes nothing.

        Args:
            rebuild: also derive the current state from history, and compare; reads all of it.
            files: also look for files that are missing, and for files that no table refers to.

        Returns:
            All checks. `exit_code` is 1 if one failed.

        Raises CompactorError if the catalog or the storage cannot be read.
        """
        from compactor.commands.verify.verify import verify

        return verify(self.config, self.registry, rebuild=rebuild, files=files)

    def verify_athena(self) -> VerifyReport:
        """Checks by their metadata whether Athena can read the tables. Raises CompactorError if there is no table."""
        from compactor.commands.verify.athena import verify

        return verify(self.config, self.registry)

    def repair(self, *, yes: bool = False) -> VerifyReport:
        """Makes all checks and plans the repair of those that fail; with `yes`, repairs them and checks again.

        Raises CompactorError if the catalog or the storage failed, or if other runs kept committing first.
        """
        from compactor.commands.verify.repair import repair

        return repair(self.config, self.registry, yes=yes)

    def migrate_plan(self, datasets: str | Sequence[str] = ()) -> MigrationPlan:
        """What `migrate_apply` would do. Changes nothing. Raises UsageError if a table cannot be changed like that."""
        from compactor.commands.migrate.migrate import plan

        return plan(self.config, self.registry, datasets=_names(datasets))

    def migrate_apply(
        self,
        datasets: str | Sequence[str] = (),
        *,
        plan_id: str | None = None,
        progress: Progress | None = None,
    ) -> MigrationReport:
        """Brings the tables to the newest version of the registry. Safe to call again after a crash at any point.

        Args:
            plan_id: `plan_id` of the plan that was looked at; None: whatever the plan is now.

        Returns:
            What was done. `exit_code` is 3 if rows were quarantined.

        Raises:
            UsageError: the plan has changed since, or a table cannot be changed like that.
            CompactorError: the catalog or the storage failed.
        """
        from compactor.commands.migrate.migrate import apply

        names = _names(datasets)
        return apply(self.config, self.registry, datasets=names, plan_id=plan_id, progress=_or_null(progress))

    def migrate_rollback(
        self, datasets: str | Sequence[str] = (), *, yes: bool = False, progress: Progress | None = None
    ) -> RollbackReport:
        """Reverts the last migration and all that was loaded since, which is pending again. Without `yes`: a dry run.

        Raises UsageError if there is nothing to revert, CompactorError if the catalog or the storage failed.
        """
        from compactor.commands.migrate.rollback import rollback

        names = _names(datasets)
        return rollback(self.config, self.registry, datasets=names, confirmed=yes, progress=_or_null(progress))

    def drift(self, datasets: str | Sequence[str] = (), *, days: int = 7, min_share: float = 1.0) -> DriftReport:
        """New, vanished and conflicting fields and keys in the histories, with suggested columns. Changes nothing.

        Args:
            days: how many days before the newest data of a table count as recent.
            min_share: suggest a column for keys that at least this percentage of the records has.

        Raises UsageError for an unknown dataset, CompactorError if the catalog or the storage cannot be read.
        """
        from compactor.commands.drift.drift import drift

        return drift(self.config, self.registry, datasets=_names(datasets), days=days, min_share=min_share)

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
            objects: the maximum number of objects to read per dataset.
            out: the folder to write NAME.yaml into; None: write nothing.

        Raises:
            UsageError: no such folder in the source, or a file in `out` that exists and differs.
            SourceError: the source cannot be read.
        """
        from compactor.commands.infer.infer import infer

        return infer(
            self.config,
            datasets=_names(datasets),
            start=_first_hour(start),
            stop=_last_hour(stop),
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
    ) -> FitReport:
        """Checks the registry against a sample of the source. Arguments and errors are those of `infer`."""
        from compactor.commands.infer.registry_check import check

        return check(
            self.config,
            self.registry,
            datasets=_names(datasets),
            start=_first_hour(start),
            stop=_last_hour(stop),
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
            names=_names(names),
            apply=apply,
            server=server,
            workgroup=workgroup,
            output=output,
        )

    def query(self, sql: str) -> pa.Table:
        """The result of one SELECT statement over the tables and views, in DuckDB's dialect, whole in memory.

        Timestamps are `timestamp[us, tz=UTC]`, maps are Arrow maps.

        Raises:
            UsageError: the statement does not parse, is not a SELECT, or names a table or column that does not exist.
            CompactorError: the catalog or the storage cannot be read.
        """
        with self.query_batches(sql) as reader:
            return reader.read_all()

    def query_batches(self, sql: str) -> pa.RecordBatchReader:
        """As `query`, one record batch at a time. Use it as a context manager, or close it: it holds a session."""
        from compactor.commands.query import query

        return query(self.config, self.registry, sql)

    def table(self, name: str) -> IcebergTable:
        """A table as a PyIceberg table, at its current snapshot, for reading.

        Do not write to a table of this program: it would no longer agree with the ledger.

        Raises MissingTableError if there is no such table, CompactorError if the catalog cannot be read.
        """
        from compactor.lake.catalog import Lakehouse

        return Lakehouse(self.config).load_iceberg(name)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    """A single name is one name, and not the sequence of its letters."""
    return (given,) if isinstance(given, str) else tuple(given)


def _first_hour(given: str | Hour | None) -> Hour | None:
    from compactor.source import Hour

    return Hour.parse(given) if isinstance(given, str) else given


def _last_hour(given: str | Hour | None) -> Hour | None:
    """A bare day means its last hour."""
    from compactor.source import Hour

    hour = _first_hour(given)
    return Hour(hour.date, 23) if hour and isinstance(given, str) and "T" not in given else hour


def _or_null(progress: Progress | None) -> Progress:
    from compactor.progress import NullProgress

    return progress or NullProgress()

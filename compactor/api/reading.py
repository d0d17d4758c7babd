"""The methods of a lake that only read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compactor.api.base import OpenLake, as_names, in_range

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table as IcebergTable

    from compactor.reports.data import DriftReport
    from compactor.reports.report import StatusReport, VerifyReport


class Reading(OpenLake):
    """What the verbs `status`, `query`, `drift` and `verify` do."""

    def status(self) -> StatusReport:
        """Tables, pending objects, the last runs and the quarantine. Changes nothing.

        Raises SourceError if the source cannot be listed, CompactorError if the catalog or the storage failed.
        """
        from compactor.commands.status import status

        return status(self.config, self.registry)

    def query(self, sql: str, *, allow_files: bool = False) -> pa.Table:
        """The result of one SELECT statement over the tables and views, in DuckDB's dialect, whole in memory.

        Timestamps are `timestamp[us, tz=UTC]`, maps are Arrow maps. A process of its own answers, and ends then.

        Args:
            allow_files: the statement may also read files and URLs, with the rights of this process.

        Raises:
            UsageError: the statement does not parse, is not a SELECT, names a table or column that does not exist, or
                reads a file or URL that is no part of the tables.
            CompactorError: the catalog or the storage cannot be read.
        """
        with self.query_batches(sql, allow_files=allow_files) as reader:
            return reader.read_all()

    def query_batches(self, sql: str, *, allow_files: bool = False) -> pa.RecordBatchReader:
        """As `query`, one record batch at a time. Use it as a context manager, or close it: it holds a process."""
        from compactor.commands.query import query

        return query(self.config, self.registry, sql, allow_files=allow_files)

    def table(self, name: str) -> IcebergTable:
        """A table as a PyIceberg table, at its current snapshot, for reading.

        Do not write to a table of this program: it would no longer agree with the ledger.

        Raises MissingTableError if there is no such table, CompactorError if the catalog cannot be read.
        """
        from compactor.lake.catalog import Lakehouse

        return Lakehouse(self.config).load_iceberg(name)

    def drift(self, datasets: str | Sequence[str] = (), *, days: int = 7, min_share: float = 1.0) -> DriftReport:
        """New, vanished and conflicting fields and keys in the histories, with suggested columns. Changes nothing.

        Args:
            days: how many days before the newest data of a table count as recent, at most 36,500.
            min_share: suggest a column for keys that at least this percentage of the records has.

        Raises UsageError for an unknown dataset or a number outside of its limits, CompactorError if the catalog or the
        storage cannot be read.
        """
        from compactor.commands.drift.drift import drift

        in_range("days", days, 1, 36_500)
        in_range("min_share", min_share, 0, 100)

        return drift(self.config, self.registry, datasets=as_names(datasets), days=days, min_share=min_share)

    def verify(self, *, rebuild: bool = False, files: bool = False, content: bool = False) -> VerifyReport:
        """Checks that ids and keys are unique and that the sums of the ledger hold. Changes nothing.

        Args:
            rebuild: also derive the current state from history, and compare; reads all of it.
            files: also look for files that are missing or damaged, and for files that no table refers to.
            content: also read all data files, and compare them with what was written into them.

        Returns:
            All checks. `exit_code` is 1 if one failed.

        Raises CompactorError if the catalog or the storage cannot be read.
        """
        from compactor.commands.verify.verify import verify

        return verify(self.config, self.registry, rebuild=rebuild, files=files, content=content)

    def verify_athena(self) -> VerifyReport:
        """Checks by their metadata whether Athena can read the tables. Raises CompactorError if there is no table."""
        from compactor.commands.verify.athena import verify

        return verify(self.config, self.registry)

"""The methods of a lake that repair and migrate its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compactor.api.base import OpenLake, as_names, or_null

if TYPE_CHECKING:
    from compactor.progress import Progress
    from compactor.reports.migration import MigrationPlan, MigrationReport, RollbackReport
    from compactor.reports.report import VerifyReport


class Changing(OpenLake):
    """What the verbs `verify --repair` and `migrate` do."""

    def repair(self, *, yes: bool = False) -> VerifyReport:
        """Makes all checks and plans the repair of those that fail; with `yes`, repairs them and checks again.

        Raises CompactorError if the catalog or the storage failed, or if other runs kept committing first.
        """
        from compactor.commands.verify.repair import repair

        return repair(self.config, self.registry, yes=yes)

    def migrate_plan(self, datasets: str | Sequence[str] = ()) -> MigrationPlan:
        """What `migrate_apply` would do. Changes nothing. Raises UsageError if a table cannot be changed like that."""
        from compactor.commands.migrate.migrate import plan

        return plan(self.config, self.registry, datasets=as_names(datasets))

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

        names = as_names(datasets)
        return apply(self.config, self.registry, datasets=names, plan_id=plan_id, progress=or_null(progress))

    def migrate_rollback(
        self, datasets: str | Sequence[str] = (), *, yes: bool = False, progress: Progress | None = None
    ) -> RollbackReport:
        """Reverts the last migration and all that was loaded since, which is pending again. Without `yes`: a dry run.

        Raises UsageError if there is nothing to revert, CompactorError if the catalog or the storage failed.
        """
        from compactor.commands.migrate.rollback import rollback

        names = as_names(datasets)
        return rollback(self.config, self.registry, datasets=names, confirmed=yes, progress=or_null(progress))

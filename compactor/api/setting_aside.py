"""The methods of a lake for what nobody can load, and for a lake that was moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compactor.api.base import OpenLake, as_names

if TYPE_CHECKING:
    from compactor.reports.acknowledgement import AcknowledgeReport
    from compactor.reports.relocation import RelocateReport


class SettingAside(OpenLake):
    """What the verbs `acknowledge` and `relocate` do."""

    def acknowledge(
        self,
        datasets: str | Sequence[str] = (),
        *,
        objects: str | Sequence[str] = (),
        line: int | None = None,
        reasons: str | Sequence[str] = (),
        because: str,
    ) -> AcknowledgeReport:
        """Sets aside objects that cannot be read and quarantined lines: they are listed, and raise no alarm any more.

        Of the quarantine, the lines that are there now. No record, count or line is changed.

        Args:
            datasets: names of datasets; empty: all of the registry.
            objects: keys of pending objects that cannot be read, or of objects that have lines in the quarantine.
            line: only this line, counted from 1, of the one object.
            reasons: only lines with these reasons, as `status` shows them.
            because: why, for those who read the list later.

        Raises:
            UsageError: something that was named is not there, or an object can be read. Nothing is acknowledged then.
            SourceError: the source cannot be listed.
            CompactorError: the catalog or the storage failed, or other runs kept committing first.
        """
        from compactor.commands.acknowledge import Selection, acknowledge

        selection = Selection(as_names(objects), line, as_names(reasons))
        return acknowledge(self.config, self.registry, selection, datasets=as_names(datasets), because=because)

    def acknowledge_undo(
        self,
        datasets: str | Sequence[str] = (),
        *,
        objects: str | Sequence[str] = (),
        line: int | None = None,
        reasons: str | Sequence[str] = (),
    ) -> AcknowledgeReport:
        """Takes acknowledgements back; the next `compact` reads the objects again. Arguments as for `acknowledge`."""
        from compactor.commands.acknowledge import Selection, undo

        selection = Selection(as_names(objects), line, as_names(reasons))
        return undo(self.config, self.registry, selection, datasets=as_names(datasets))

    def acknowledged(self, datasets: str | Sequence[str] = ()) -> AcknowledgeReport:
        """What is acknowledged and still there. Changes nothing. Raises CompactorError if a table cannot be read."""
        from compactor.commands.acknowledge import listed

        return listed(self.config, self.registry, datasets=as_names(datasets))

    def relocate_plan(
        self, *, source: str | None = None, target: str | None = None, allow_missing: bool = False
    ) -> RelocateReport:
        """What `relocate_apply` would do for a lake that was moved or copied, and what is missing. Changes nothing.

        Args:
            source: the old place, a folder or a URL; None: where the catalog has the tables.
            target: the new place; None: the warehouse of the config.
            allow_missing: files that are missing at the new place do not stand in the way.

        Returns:
            The tables. `exit_code` is 1 if something is missing or wrong.

        Raises:
            UsageError: the tables lie in several places, or at neither of the two that were named.
            CompactorError: the catalog or the storage failed.
        """
        from compactor.commands.relocate.relocate import plan

        return plan(self.config, self.registry, source=source, target=target, allow_missing=allow_missing)

    def relocate_apply(
        self, *, source: str | None = None, target: str | None = None, allow_missing: bool = False
    ) -> RelocateReport:
        """Makes a lake that was moved or copied work at its new place. Safe to call again after a crash at any point.

        The old place is neither read nor changed. If a table has a problem, nothing is done. Arguments and errors are
        those of `relocate_plan`.
        """
        from compactor.commands.relocate.relocate import apply

        return apply(self.config, self.registry, source=source, target=target, allow_missing=allow_missing)

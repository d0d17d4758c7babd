"""Compacts gzipped NDJSON exports into deduplicated Iceberg tables. This is the Python API; see docs/python.md.

    import compactor

    lake = compactor.open("configs/local.yaml")
    report = lake.compact()
    print(report.exit_code, lake.query("select count(*) from fan_profiles"))

The names of `__all__` are public and stay. All other modules and names can change with any release. A name is imported
at its first use, so `import compactor` takes no time and loads no other package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from compactor.version import __version__

if TYPE_CHECKING:
    from compactor.api import Lake, init, open  # noqa: A004  # `compactor.open` is the name of the API
    from compactor.commands.init import InitReport
    from compactor.errors import (
        CompactorError,
        ConfigError,
        ConflictError,
        InvariantError,
        MisplacedTableError,
        MissingTableError,
        SourceError,
        UsageError,
    )
    from compactor.progress import LogProgress, Progress
    from compactor.reports.acknowledgement import Acknowledgement, AcknowledgeReport
    from compactor.reports.data import DriftReport, InferReport, RegistryCheckReport
    from compactor.reports.migration import MigrationPlan, MigrationReport, RollbackReport
    from compactor.reports.relocation import RelocateReport, TableRelocation
    from compactor.reports.report import (
        Acknowledged,
        Check,
        DatasetReport,
        PendingObjects,
        Problem,
        Repair,
        Report,
        RunReport,
        StatusReport,
        TableStatus,
        VerifyReport,
    )
    from compactor.reports.views import View, ViewsReport
    from compactor.request_counts import Requests
    from compactor.source import Hour

__all__ = [
    "AcknowledgeReport",
    "Acknowledged",
    "Acknowledgement",
    "Check",
    "CompactorError",
    "ConfigError",
    "ConflictError",
    "DatasetReport",
    "DriftReport",
    "Hour",
    "InferReport",
    "InitReport",
    "InvariantError",
    "Lake",
    "LogProgress",
    "MigrationPlan",
    "MigrationReport",
    "MisplacedTableError",
    "MissingTableError",
    "PendingObjects",
    "Problem",
    "Progress",
    "RegistryCheckReport",
    "RelocateReport",
    "Repair",
    "Report",
    "Requests",
    "RollbackReport",
    "RunReport",
    "SourceError",
    "StatusReport",
    "TableRelocation",
    "TableStatus",
    "UsageError",
    "VerifyReport",
    "View",
    "ViewsReport",
    "__version__",
    "init",
    "open",
]

_MODULES = {
    "compactor.api": ("Lake", "init", "open"),
    "compactor.commands.init": ("InitReport",),
    "compactor.errors": (
        "CompactorError",
        "ConfigError",
        "ConflictError",
        "InvariantError",
        "MisplacedTableError",
        "MissingTableError",
        "SourceError",
        "UsageError",
    ),
    "compactor.progress": ("LogProgress", "Progress"),
    "compactor.reports.acknowledgement": ("AcknowledgeReport", "Acknowledgement"),
    "compactor.reports.data": ("DriftReport", "RegistryCheckReport", "InferReport"),
    "compactor.reports.migration": ("MigrationPlan", "MigrationReport", "RollbackReport"),
    "compactor.reports.relocation": ("RelocateReport", "TableRelocation"),
    "compactor.reports.report": (
        "Acknowledged",
        "Check",
        "DatasetReport",
        "PendingObjects",
        "Problem",
        "Repair",
        "Report",
        "RunReport",
        "StatusReport",
        "TableStatus",
        "VerifyReport",
    ),
    "compactor.reports.views": ("View", "ViewsReport"),
    "compactor.request_counts": ("Requests",),
    "compactor.source": ("Hour",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'compactor' has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

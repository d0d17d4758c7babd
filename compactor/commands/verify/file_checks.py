"""The checks of the files of one table: those that it refers to exist, and which ones nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator

from compactor.commands.verify import remedies
from compactor.commands.verify.finding import Finding
from compactor.errors import UnreadableError
from compactor.lake import file_inventory
from compactor.lake.catalog import Lakehouse
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair


def check_files(lake: Lakehouse, name: str, dataset: Dataset | None) -> Iterator[Finding]:
    """The checks of a table of a dataset, or of one of the program's own (None)."""
    try:
        table = lake.table(name)
        found = file_inventory.take(table)
    except UnreadableError as error:
        check = Check("each file is there", name, ok=False, detail=f"{error.path} {error.why}")
        yield Finding(check, (remedies.unreadable(name, error.path, dataset),), dataset, blocks=True)
        return
    yield _each_file_is_there(table, found, dataset)
    if found.left_over:
        size = sum(found.left_over.values()) / 1e6
        detail = (
            f"{len(found.left_over)} files ({size:,.1f} MB) that a stopped run left, or that a run is writing now,"
            f" such as {next(iter(found.left_over))}; left alone"
        )
        yield Finding(Check("files that nothing refers to", name, ok=True, detail=detail))


def _each_file_is_there(table: Table, found: file_inventory.Inventory, dataset: Dataset | None) -> Finding:
    """Rows of a current table can be derived, those of other tables cannot."""
    such_as = f", such as {found.missing[0]}" if found.missing else ""
    detail = f"{found.referenced} files, {len(found.missing)} missing{such_as}"
    check = Check("each file is there", table.name, not found.missing, detail)
    is_current = dataset is not None and table.name == dataset.current_table
    only_data_files = len(found.lost) == len(found.unreadable)
    other = len(found.missing) - len(found.unreadable)
    repairs: list[Repair] = []
    blocks = bool(found.unreadable)
    if dataset and not is_current and found.lost and only_data_files:
        rows = sum(file.record_count for file in table.files if file.file_path in found.lost)
        repairs.append(remedies.lost_history_files(dataset, len(found.lost), rows, found.unreadable[0]))
    elif is_current and only_data_files:
        blocks = False  # `remedies.derive` takes them out
    elif found.unreadable:
        repairs.append(remedies.unreadable(table.name, found.unreadable[0], dataset))
    if is_current and found.broken and not blocks:
        repairs.append(remedies.forget(table.name, len(found.broken)))
    elif other:
        path = next(path for path in found.missing if path not in found.unreadable)
        repairs.append(remedies.missing_metadata(table.name, other, path))
    return Finding(check, tuple(repairs), dataset, blocks)

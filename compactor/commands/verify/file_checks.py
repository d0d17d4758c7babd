"""The checks of the files of one table: those that it refers to are there, and which ones nothing refers to."""

from __future__ import annotations

from collections.abc import Iterator

from compactor.commands.verify import content_checks, remedies
from compactor.commands.verify.finding import Finding
from compactor.errors import UnreadableError
from compactor.lake import file_inventory
from compactor.lake.catalog import Lakehouse
from compactor.lake.file_inventory import Inventory
from compactor.lake.table import Table
from compactor.registry.dataset import Dataset
from compactor.reports.report import Check, Repair


def check_table(
    lake: Lakehouse, name: str, dataset: Dataset | None, *, files: bool, content: bool
) -> Iterator[Finding]:
    """The checks of a table of a dataset, or of one of the program's own (None).

    Args:
        files: by the listing of its location.
        content: by reading all of its data files.
    """
    try:
        table = lake.table(name)
        found = file_inventory.take(table)
    except UnreadableError as error:
        check = Check("each file is there", name, ok=False, detail=f"{error.path} {error.why}")
        if dataset and name == dataset.current_table:
            yield Finding(check, (remedies.derive_all(dataset, error.path, error.why),), dataset)
        else:
            repair = remedies.unreadable(name, error.path, error.why, dataset)
            yield Finding(check, (repair,), dataset, blocks=True)
        return
    if files or not found.only_data_files:
        yield _each_file_is_there(table, found, dataset)
    if content and found.only_data_files:
        yield from content_checks.check_content(lake, table, dataset, found)
    if files and found.left_over:
        size = sum(found.left_over.values()) / 1e6
        detail = (
            f"{len(found.left_over)} files ({size:,.1f} MB) that a stopped run left, or that a run is writing now,"
            f" such as {next(iter(found.left_over))}; left alone"
        )
        yield Finding(Check("files that nothing refers to", name, ok=True, detail=detail))


def _each_file_is_there(table: Table, found: Inventory, dataset: Dataset | None) -> Finding:
    """Rows of a current table can be derived, those of other tables cannot."""
    detail = f"{found.referenced} files, {len(found.damaged)} missing or damaged"
    if found.damaged:
        path = next(iter(found.unreadable or found.damaged))
        detail += f", such as {path}, which {found.damaged[path]}"
    check = Check("each file is there", table.name, not found.damaged, detail)
    current = dataset if dataset and table.name == dataset.current_table else None
    return Finding(
        check,
        tuple(_repairs(table, found, dataset, current)),
        dataset,
        blocks=bool(found.unreadable) and current is None,
    )


def _repairs(table: Table, found: Inventory, dataset: Dataset | None, current: Dataset | None) -> Iterator[Repair]:
    if found.unreadable:
        path = found.unreadable[0]
        if current and not found.only_data_files:
            path = next(each for each in found.unreadable if not each.endswith(".parquet"))
            yield remedies.derive_all(current, path, found.damaged[path])
        elif dataset and not current and found.lost and found.only_data_files:
            rows = sum(file.record_count for file in table.files if file.file_path in found.lost)
            yield remedies.lost_history_files(dataset, len(found.lost), rows, path, found.damaged[path])
        elif not current:
            yield remedies.unreadable(table.name, path, found.damaged[path], dataset)
        # Else only data files of a current table: `remedies.derive` takes them out.
    if current and found.broken:
        yield remedies.forget(table.name, len(found.broken))
    elif others := [path for path in found.damaged if path not in found.unreadable]:
        yield remedies.missing_metadata(table.name, len(others), others[0])

"""The plan of a migration: what has to change in the tables so that they have the registry's newest version.

A column that is at most renamed, moved or widened keeps its data in place, by its field id. A table with a column whose
data must change is rewritten. The plan depends only on the versions of registry and tables: a run of `compact` does not
make it stale, a changed registry or a migrated table does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from compactor.evolution.rows import kept_promotion
from compactor.lake import layout, table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.schema_change import TargetColumn
from compactor.lake.table import Table
from compactor.registry import expressions as upgrade
from compactor.registry.dataset import Dataset, Promotion
from compactor.registry.expressions import Expression
from compactor.reports.migration import MigrationPlan, TableMigration


def plan(lake: Lakehouse, datasets: Sequence[Dataset]) -> MigrationPlan:
    """The plan for these datasets, as the registry has them. Raises UsageError where a table cannot change that way."""
    found = []
    marks = []
    for dataset in datasets:
        names = [name for name in (dataset.history_table, dataset.current_table) if name and lake.exists(name)]
        for table in map(lake.table, names):
            old, new = (
                table_version.of_table(dataset, table.properties),
                table_version.target(dataset, table.properties),
            )
            layout.check_dataset(table, old)
            marks.append(
                f"{table.name} {table.schema_id} {table_version.marks(old)} {new.table_columns} {new.promoted}"
            )
            marks += [f"{name} {expression}" for name, expression in new.upgrades(old.newest.number).items()]
            if old != new:
                found.append(_of_table(table, old, new))
    digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:12]
    return MigrationPlan(digest, tuple(found))


def target_columns(old: Dataset, new: Dataset) -> list[TargetColumn]:
    """The columns that a table of `old` is to have, each with the column of today that it keeps."""
    required = {name for name, _, needed in old.table_columns if needed}
    columns = []
    for name, kind, needed in new.table_columns:
        source = _source(old, new, name)
        columns.append(TargetColumn(name, kind, needed and source in required, source))
    return columns


def is_rewrite(old: Dataset, new: Dataset) -> bool:
    """Whether data files have to change."""
    return any(True for _ in _rewritten(old, new))


def _source(old: Dataset, new: Dataset, column: str) -> str | None:
    expression = new.upgrades(old.newest.number).get(column)
    if expression is not None:
        return upgrade.kept(expression)
    promotion = _promotion(new, column)
    return kept_promotion(old, new, promotion) if promotion else column


def _promotion(dataset: Dataset, column: str) -> Promotion | None:
    return next((each for each in dataset.promoted if each.column == column), None)


def _of_table(table: Table, old: Dataset, new: Dataset) -> TableMigration:
    rewritten = tuple(_rewritten(old, new))
    files = table.files if rewritten else []
    return TableMigration(
        table=table.name,
        from_version=old.newest.number,
        to_version=new.newest.number,
        in_place=tuple(_in_place(old, new)),
        rewritten=rewritten,
        files=len(files),
        rows=sum(file.record_count for file in files),
        bytes=sum(file.file_size_in_bytes for file in files),
        breaks=tuple(_breaks(old, new)),
    )


def _rewritten(old: Dataset, new: Dataset) -> Iterator[str]:
    """The columns whose data change, in words."""
    for column, expression in new.upgrades(old.newest.number).items():
        if upgrade.kept(expression) is None and not isinstance(expression, upgrade.Nothing):
            yield f"{column}: {_words(expression)}"
    for promotion in new.promoted:
        if kept_promotion(old, new, promotion) is None:
            yield f"{promotion.column}: from {promotion.source}['{promotion.key}'] as {promotion.type}"


def _in_place(old: Dataset, new: Dataset) -> Iterator[str]:
    """The changes of metadata alone, in words."""
    targets = target_columns(old, new)
    types = {name: kind for name, kind, _ in old.table_columns}
    expressions = new.upgrades(old.newest.number)
    for target in targets:
        if target.source is None:
            if isinstance(expressions.get(target.name), upgrade.Nothing):
                yield f"add {target.name} {target.type}"
        elif target.source != target.name:
            yield f"rename {target.source} to {target.name}"
        if target.source is not None and types[target.source] != target.type:
            yield f"widen {target.name} from {types[target.source]} to {target.type}"
    kept = [target.source for target in targets if target.source is not None]
    used = {source for _, source in _made_of(old, new)}
    yield from (f"drop {name}" for name in types if name not in kept and name not in used)
    if kept != [name for name in types if name in kept]:
        yield "reorder the columns"


def _breaks(old: Dataset, new: Dataset) -> Iterator[str]:
    """The columns that are gone afterwards, or of another type, with what replaces them: queries may name them."""
    renamed = {target.source: target.name for target in target_columns(old, new) if target.source}
    types = {name: kind for name, kind, _ in new.table_columns}
    for name, kind, _ in old.table_columns:
        if name in types and types[name] != kind:
            yield f"{name} is a {types[name]} instead of a {kind}"
        elif name not in types:
            made = [each for each, source in _made_of(old, new) if source == name]
            instead = renamed.get(name) or ", ".join(made)
            yield f"{name} is now {instead}" if instead else f"{name} is gone"


def _made_of(old: Dataset, new: Dataset) -> Iterator[tuple[str, str]]:
    for column, expression in new.upgrades(old.newest.number).items():
        yield from ((column, source.name) for source in upgrade.inputs(expression))


def _words(expression: Expression) -> str:
    if isinstance(expression, upgrade.Column):
        return expression.name
    if isinstance(expression, upgrade.Nothing):
        return "nothing"
    if isinstance(expression, upgrade.Joined):
        return f"merged from {', '.join(_words(each) for each in expression.of)}"
    below = _words(expression.of)
    if isinstance(expression, upgrade.Converted):
        unit = f" of {expression.unit}" if expression.unit else ""
        return f"{below}{unit} as {expression.type}"
    if isinstance(expression, upgrade.Part):
        return f"part {expression.number + 1} of {below}"
    return f"{below} or a default" if below != "nothing" else "a default"

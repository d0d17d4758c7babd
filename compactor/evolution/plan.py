"""The plan of a migration: what has to change in the tables so that they have the registry's newest version.

A column that is at most renamed, moved or widened keeps its data in place, by its field id. A table with a column whose
data must change is rewritten. The plan depends only on the versions of registry and tables: a run of `compact` does not
make it stale, a changed registry or a migrated table does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from compactor.errors import UsageError
from compactor.evolution.rows import kept_promotion
from compactor.lake import layout, table_version
from compactor.lake.catalog import Lakehouse
from compactor.lake.schema_change import TargetColumn, evolved_schema
from compactor.lake.table import Schema, Table
from compactor.registry import expressions as upgrade
from compactor.registry.dataset import Dataset, Promotion
from compactor.registry.expressions import Expression
from compactor.reports.migration import MigrationPlan, TableMigration


def plan(lake: Lakehouse, datasets: Sequence[Dataset]) -> MigrationPlan:
    """The plan for these datasets, as the registry has them. Raises UsageError where a table cannot change that way."""
    found = []
    marks = []
    for dataset in datasets:
        names = [name for name in dataset.tables if lake.exists(name)]
        for table in (tables := [lake.table(name) for name in names]):
            old = lake.version_of(dataset, table)
            new = table_version.target(dataset, old)
            layout.check_dataset(table, old)
            marks.append(
                f"{table.name} {table.schema_id} {table_version.marks(old)} {new.table_columns} {new.promoted}"
                f" {new.rule}"
            )
            marks += [f"{name} {expression}" for name, expression in new.upgrades(old.newest.number).items()]
            if old != new:
                if changes_rule(old, new) and table is tables[0]:  # a stopped migration has the history behind it
                    _check_rule(table, old, new)
                found.append(_of_table(table, tables[0], old, new))
    digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()[:12]
    return MigrationPlan(digest, tuple(found))


def target_columns(table: Table, old: Dataset, new: Dataset) -> list[TargetColumn]:
    """The columns that a table of `old` is to have, each with the column of today that it keeps.

    Columns that another engine has added stay as they are, after the others. None becomes required in place.

    Raises UsageError where the name of such a column is to be one of the registry's.
    """
    required = table.required_columns
    columns = []
    for name, kind, needed in new.table_columns:
        source = _source(old, new, name)
        columns.append(TargetColumn(name, kind, needed and source in required, source))
    taken = {column.name for column in columns}
    for name in table.foreign_columns(old.column_names):
        if name.casefold() in taken:
            raise UsageError(
                f"{new.file}: column '{name}' is to come into {table.name}, and another engine has added one of that"
                " name; rename or drop that one there, or give the registry's another `column`"
            )
        columns.append(TargetColumn(name, None, name in required, name))
    return columns


def is_rewrite(old: Dataset, new: Dataset) -> bool:
    """Whether data files have to change, row by row."""
    return any(True for _ in _rewritten(old, new))


def changes_rule(old: Dataset, new: Dataset) -> bool:
    """Whether another record can be current, so that current state has to be derived again. A new name is no change."""
    return _asked(old, new).rule != old.rule


def target_schema(table: Table, old: Dataset, new: Dataset) -> Schema:
    """The schema that a table of `old` is to have. Raises UsageError where files cannot have it in place."""
    identifier = new.key if table.name == new.current_table and changes_rule(old, new) else None
    return evolved_schema(table, target_columns(table, old, new), identifier=identifier)


def _asked(old: Dataset, new: Dataset) -> Dataset:
    """`new`, its rule and its layouts, at the version of the tables."""
    return new.at(old.newest.number, old.promoted)


def _check_rule(history: Table, old: Dataset, new: Dataset) -> None:
    """Raises UsageError where tables of `old` cannot follow the rule of `new`."""
    asked = _asked(old, new)
    layouts = [
        ("history" if old.current else "events", old.history, asked.history),
        ("current", old.current, asked.current),
    ]
    kept = {name: was.partition for name, was, now in layouts if was and now and was.partition != now.partition}
    if kept:
        columns = {new.name_in(old.newest.number, each.column): each.column for each in new.newest.fields}
        lines = [f"{name}: {{partition: {each.transform}({columns.get(each.column)})}}" for name, each in kept.items()]
        raise UsageError(
            f"{new.file}: the tables of {new.name} are partitioned by the order column of today, and a table keeps its"
            f" partition; to change `order`, name the partition that they have: `tables: {{{', '.join(lines)}}}`"
        )
    for column in dict.fromkeys((*asked.key, asked.order)):
        if empty := history.count_empty(column):
            raise UsageError(
                f"{new.file}: {empty} rows of {history.name} have no '{column}', which is now in the key or the order;"
                " choose columns that each record has"
            )


def _source(old: Dataset, new: Dataset, column: str) -> str | None:
    expression = new.upgrades(old.newest.number).get(column)
    if expression is not None:
        return upgrade.kept(expression)
    promotion = _promotion(new, column)
    return kept_promotion(old, new, promotion) if promotion else column


def _promotion(dataset: Dataset, column: str) -> Promotion | None:
    return next((each for each in dataset.promoted if each.column == column), None)


def _of_table(table: Table, history: Table, old: Dataset, new: Dataset) -> TableMigration:
    target_schema(table, old, new)  # refuses what cannot be done
    targets = [target for target in target_columns(table, old, new) if target.type is not None]
    rewritten = [*_rewritten(old, new)]
    if table.name == new.current_table and changes_rule(old, new):
        rows = sum(file.record_count for file in history.files)
        rewritten.append(f"all rows: derived again from the {rows} rows of {history.name} by the new rule")
    files = table.files if rewritten else []
    return TableMigration(
        table=table.name,
        from_version=old.newest.number,
        to_version=new.newest.number,
        in_place=tuple(_in_place(targets, old, new)),
        rewritten=tuple(rewritten),
        files=len(files),
        rows=sum(file.record_count for file in files),
        bytes=sum(file.file_size_in_bytes for file in files),
        breaks=(*_breaks(targets, old, new), *(_breaks_of_rule(old, new) if table.name == new.current_table else ())),
    )


def _rewritten(old: Dataset, new: Dataset) -> Iterator[str]:
    """The columns whose data change, in words."""
    for column, expression in new.upgrades(old.newest.number).items():
        if upgrade.kept(expression) is None and not isinstance(expression, upgrade.Nothing):
            yield f"{column}: {_words(expression)}"
    for promotion in new.promoted:
        if kept_promotion(old, new, promotion) is None:
            yield f"{promotion.column}: from {promotion.source}['{promotion.key}'] as {promotion.type}"


def _in_place(targets: Sequence[TargetColumn], old: Dataset, new: Dataset) -> Iterator[str]:
    """The changes of metadata alone, in words."""
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
    yield from old.rule.changes(new.rule) if changes_rule(old, new) else ()


def _breaks(targets: Sequence[TargetColumn], old: Dataset, new: Dataset) -> Iterator[str]:
    """The columns that are gone afterwards, or of another type, with what replaces them: queries may name them."""
    renamed = {target.source: target.name for target in targets if target.source}
    types = {name: kind for name, kind, _ in new.table_columns}
    for name, kind, _ in old.table_columns:
        if name in types and types[name] != kind:
            yield f"{name} is a {types[name]} instead of a {kind}"
        elif name not in types:
            made = [each for each, source in _made_of(old, new) if source == name]
            instead = renamed.get(name) or ", ".join(made)
            yield f"{name} is now {instead}" if instead else f"{name} is gone"


def _breaks_of_rule(old: Dataset, new: Dataset) -> Iterator[str]:
    """What the rows of the current table mean afterwards."""
    asked = _asked(old, new)
    if asked.rule.key != old.rule.key:
        yield f"one row for each {', '.join(new.key)} instead of each {', '.join(old.key)}"


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

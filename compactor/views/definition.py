"""Recipes of views: one SQL text each, rendered for the engine that is to answer.

A recipe is a file of the folder `views` of the config, `NAME.sql`: comments that say what it answers (one line of them,
`-- ask: SELECT ...`, shows how it is asked), then one SELECT in Trino's dialect over tables and other recipes, named
without their database. The names in it are those of the registry's tables, and are checked against them. sqlglot
parses, checks and writes the statements; what engines differ in beyond its knowledge is in `dialect`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from compactor.errors import ConfigError, UsageError
from compactor.reports.report import LeftOut, View
from compactor.types.field_type import FieldType
from compactor.views import dialect as dialects
from compactor.views.dialect import SOURCE, Dialect
from compactor.yaml_file import did_you_mean

Columns = Mapping[str, str]
"""Types by column, in Trino's words."""

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_ASK = "ask:"


@dataclass(frozen=True)
class Recipe:
    """One file of the folder, parsed. `needs` are the tables and recipes that it names, ascending."""

    name: str
    description: str
    ask: exp.Query | None
    query: exp.Query
    needs: tuple[str, ...]
    path: Path


def names(folder: Path) -> list[str]:
    """The recipes that a folder has, without reading them: none where there is no such folder."""
    return sorted(path.stem for path in folder.glob("*.sql"))


def load(folder: Path) -> dict[str, Recipe]:
    """The recipes of a folder, each after those that it needs. Raises ConfigError with all mistakes of all files."""
    problems: list[str] = []
    found: dict[str, Recipe] = {}
    for path in sorted(folder.glob("*.sql")):
        try:
            found[path.stem] = _read(path)
        except ConfigError as error:
            problems += error.problems
    if not found and not problems:
        raise ConfigError([f"{folder}:1: no *.sql file in it; set 'views' to the folder with a file for each view"])
    if problems:
        raise ConfigError(problems)
    try:
        order = TopologicalSorter(
            {name: [each for each in recipe.needs if each in found] for name, recipe in found.items()}
        )
        return {name: found[name] for name in order.static_order()}
    except CycleError as error:
        ring = " -> ".join(error.args[1])
        raise ConfigError([f"{found[error.args[1][0]].path}:1: views that need each other: {ring}"]) from error


def closure(recipes: Mapping[str, Recipe], wanted: Iterable[str]) -> list[str]:
    """These recipes and all that they need, in the order in which they can be made."""
    due, todo = set(), list(wanted)
    while todo:
        name = todo.pop()
        if name in recipes and name not in due:
            due.add(name)
            todo += recipes[name].needs
    return [name for name in recipes if name in due]


def render(
    recipes: Mapping[str, Recipe],
    tables: Mapping[str, Mapping[str, FieldType]],
    dialect: Dialect,
    place: Sequence[str],
    wanted: Sequence[str] = (),
) -> tuple[list[View], list[LeftOut]]:
    """The views in the order in which they can be made, and those that the tables have not what it takes for.

    `tables` gives the types of the registry by column and table, `place` is what stands before their names. Views that
    `wanted` ones need come along.
    Raises UsageError where a wanted one does not exist, or cannot be made.
    """
    for name in wanted:
        if name not in recipes or name in tables:
            raise UsageError(f"there is no view '{name}'{did_you_mean(name, list(recipes))}")
    known: dict[str, Columns] = {
        table: {column: kind.trino for column, kind in columns.items()} for table, columns in tables.items()
    }
    made: list[View] = []
    clashes = [
        LeftOut(name, f"{each.path}: a table has the name '{name}'; give the view another")
        for name, each in recipes.items()
        if name in tables
    ]
    left_out: list[LeftOut] = [] if wanted else clashes
    usable = {name: each for name, each in recipes.items() if name not in tables}
    for name in closure(usable, wanted or usable):
        recipe = usable[name]
        try:
            typed = _typed(recipe.query, known, f"view '{name}'")
            known[name] = dialects.columns(typed, dialect)
            asked = _typed(recipe.ask, known, f"the ask of view '{name}'") if recipe.ask else None
        except UsageError as error:
            if wanted:
                raise
            left_out.append(LeftOut(name, str(error)))
            continue
        sql = dialects.select(recipe.query, typed, dialect, place)
        ask = dialects.select(recipe.ask, asked, dialect, place) if recipe.ask and asked else ""
        made.append(View(name, recipe.description, dialects.create(name, sql, dialect, place), sql, ask))
    return made, left_out


def _read(path: Path) -> Recipe:
    """Raises ConfigError."""
    if not _NAME.fullmatch(path.stem):
        raise ConfigError([f"{path}:1: a view's name should be a-z, 0-9 and _; rename the file"])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}:1: cannot be read as UTF-8 text; check the file and its permissions"]) from error
    comments: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        comments.append(line.removeprefix("--").strip())
    asks = [line.removeprefix(_ASK).strip() for line in comments if line.startswith(_ASK)]
    description = " ".join(line for line in comments if not line.startswith(_ASK))
    try:
        query = _parse(text)
        ask = _parse(asks[0]) if asks else None
    except SqlglotError as error:
        raise ConfigError([_mistake(path, error)]) from error
    except UsageError as error:
        raise ConfigError([f"{path}:1: {error}"]) from error
    if any(isinstance(each, exp.Star) for each in query.selects):
        raise ConfigError([f"{path}:1: name the columns instead of *: engines keep those that a table had that day"])
    tables = list(query.find_all(exp.Table))
    if qualified := next((table for table in tables if table.db), None):
        raise ConfigError([f"{path}:1: name '{qualified.name}' without its database: that is put in by 'namespace'"])
    own = {each.alias for each in query.find_all(exp.CTE)}
    needs = sorted({table.name for table in tables} - own)
    return Recipe(path.stem, description, ask, query, tuple(needs), path)


def _parse(text: str) -> exp.Query:
    """Raises SqlglotError, or UsageError for what is no single query."""
    statements = [each for each in sqlglot.parse(text, read=SOURCE) if each is not None]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or not statements[0].selects:
        raise UsageError("should be one SELECT statement")
    return statements[0]


def _mistake(path: Path, error: SqlglotError) -> str:
    found = getattr(error, "errors", None)
    line, what = (found[0]["line"], found[0]["description"]) if found else (1, str(error).splitlines()[0])
    return f"{path}:{line or 1}: not SQL as Trino has it: {what}"


def _typed(query: exp.Query, known: Mapping[str, Columns], what: str) -> exp.Query:
    """The query with the type of each expression. Raises UsageError where a table or a column does not exist."""
    own = {each.alias for each in query.find_all(exp.CTE)}
    for table in query.find_all(exp.Table):
        if table.name not in known and table.name not in own:
            near = did_you_mean(table.name, list(known))
            raise UsageError(f"{what} needs '{table.name}', which is neither a table of the registry nor a view{near}")
    schema = MappingSchema(dict(known), dialect=SOURCE)
    try:
        qualified = qualify(query.copy(), schema=schema, dialect=SOURCE, quote_identifiers=False)
    except SqlglotError as error:
        first = re.sub(r"\x1b\[\d+m", "", str(error)).splitlines()[0].rstrip(". ")
        raise UsageError(f"{what} does not fit the tables: {first}; mend the view, or the registry") from error
    typed = annotate_types(qualified, schema=schema, dialect=SOURCE)
    assert isinstance(typed, exp.Query)
    return typed

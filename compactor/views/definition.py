"""View definitions: one SQL text for each view, rendered for each engine.

A definition is a file `NAME.sql` in the config's folder `views`. It begins with comments that describe the view; the
comment `-- ask: SELECT ...` is an example query. Then comes one SELECT in Trino's dialect over tables and other views,
named without a database. Tables and columns are checked against the registry. sqlglot parses, checks and writes the
statements. `dialect` handles the differences between engines that sqlglot does not know.
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
from compactor.reports.views import LeftOut, View
from compactor.types.field_type import FieldType
from compactor.views import dialect as dialects
from compactor.views.dialect import SOURCE, Dialect
from compactor.yaml_file import did_you_mean, read_text

Columns = Mapping[str, str]
"""Column -> type, as Trino writes it."""

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_ASK = "ask:"


@dataclass(frozen=True)
class Definition:
    """One file of the folder, parsed.

    Attributes:
        name: the view's name: the file's name without `.sql`.
        description: the comments, as one line.
        ask: the example query; None without one.
        query: the view's query.
        needs: the tables and views that the query names, ascending.
        path: the file.
    """

    name: str
    description: str
    ask: exp.Query | None
    query: exp.Query
    needs: tuple[str, ...]
    path: Path


def names(folder: Path) -> list[str]:
    """The names of the views in a folder, ascending. The files are not read. Empty if the folder does not exist."""
    return sorted(path.stem for path in folder.glob("*.sql"))


def load(folder: Path) -> dict[str, Definition]:
    """The definitions of a folder, each after those that it needs.

    Raises ConfigError with all mistakes of all files.
    """
    problems: list[str] = []
    found: dict[str, Definition] = {}
    for path in sorted(folder.glob("*.sql")):
        try:
            found[path.stem] = _read(path)
        except ConfigError as error:
            problems += error.problems
    if not found and not problems:
        raise ConfigError(
            [f"{folder}:1: there is no *.sql file in it; set 'views' to the folder that has one per view"]
        )
    if problems:
        raise ConfigError(problems)
    try:
        order = TopologicalSorter(
            {name: [need for need in each.needs if need in found] for name, each in found.items()}
        )
        return {name: found[name] for name in order.static_order()}
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
        raise ConfigError([f"{found[error.args[1][0]].path}:1: views that need each other: {cycle}"]) from error


def closure(definitions: Mapping[str, Definition], chosen: Iterable[str]) -> list[str]:
    """The chosen views and all views that they need, in the order in which they can be created."""
    found, todo = set(), list(chosen)
    while todo:
        name = todo.pop()
        if name in definitions and name not in found:
            found.add(name)
            todo += definitions[name].needs
    return [name for name in definitions if name in found]


def render(
    definitions: Mapping[str, Definition],
    tables: Mapping[str, Mapping[str, FieldType]],
    dialect: Dialect,
    qualifier: Sequence[str],
    chosen: Sequence[str] = (),
) -> tuple[list[View], list[LeftOut]]:
    """The views, in the order in which they can be created, and the views that the tables do not allow.

    Args:
        definitions: those of the folder.
        tables: table -> column -> type of the registry.
        dialect: the engine.
        qualifier: what stands before a table's name; see `dialect.qualifier`.
        chosen: render these views and those that they need. Default: all.

    Raises:
        UsageError: a chosen view does not exist, or the tables do not allow it.
    """
    for name in chosen:
        if name not in definitions or name in tables:
            raise UsageError(f"there is no view '{name}'{did_you_mean(name, list(definitions))}")
    known: dict[str, Columns] = {
        table: {column: kind.trino for column, kind in columns.items()} for table, columns in tables.items()
    }
    made: list[View] = []
    clashes = [
        LeftOut(name, f"{each.path}: a table has the name '{name}' already; rename the view")
        for name, each in definitions.items()
        if name in tables
    ]
    left_out: list[LeftOut] = [] if chosen else clashes
    usable = {name: each for name, each in definitions.items() if name not in tables}
    for name in closure(usable, chosen or usable):
        each = usable[name]
        try:
            typed = _typed(each.query, known, f"view '{name}'")
            known[name] = dialects.columns(typed, dialect)
            asked = _typed(each.ask, known, f"the example query of view '{name}'") if each.ask else None
        except UsageError as error:
            if chosen:
                raise
            left_out.append(LeftOut(name, str(error)))
            continue
        sql = dialects.select(each.query, typed, dialect, qualifier)
        ask = dialects.select(each.ask, asked, dialect, qualifier) if each.ask and asked else ""
        made.append(View(name, each.description, dialects.create(name, sql, dialect, qualifier), sql, ask))
    return made, left_out


def _read(path: Path) -> Definition:
    """Raises ConfigError."""
    if not _NAME.fullmatch(path.stem):
        raise ConfigError([f"{path}:1: a view's name should be a-z, 0-9 and _; rename the file"])
    text = read_text(path)
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
        raise ConfigError(
            [f"{path}:1: name the columns instead of *: a view does not get columns that its tables get later"]
        )
    tables = list(query.find_all(exp.Table))
    if qualified := next((table for table in tables if table.db), None):
        raise ConfigError([f"{path}:1: name '{qualified.name}' without a database: the config's 'namespace' is added"])
    own = {each.alias for each in query.find_all(exp.CTE)}
    needs = sorted({table.name for table in tables} - own)
    return Definition(path.stem, description, ask, query, tuple(needs), path)


def _parse(text: str) -> exp.Query:
    """Raises SqlglotError, or UsageError for anything but one SELECT statement."""
    statements = [each for each in sqlglot.parse(text, read=SOURCE) if each is not None]
    if len(statements) != 1 or not isinstance(statements[0], exp.Query) or not statements[0].selects:
        raise UsageError("should be one SELECT statement")
    return statements[0]


def _mistake(path: Path, error: SqlglotError) -> str:
    found = getattr(error, "errors", None)
    line, what = (found[0]["line"], found[0]["description"]) if found else (1, str(error).splitlines()[0])
    return f"{path}:{line or 1}: not valid in Trino's SQL: {what}"


def _typed(query: exp.Query, known: Mapping[str, Columns], what: str) -> exp.Query:
    """The query with the type of each expression. Raises UsageError if a table or a column does not exist."""
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
        raise UsageError(f"{what} does not fit the tables: {first}; correct the view or the registry") from error
    typed = annotate_types(qualified, schema=schema, dialect=SOURCE)
    assert isinstance(typed, exp.Query)
    return typed

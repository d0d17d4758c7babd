"""Errors, grouped by what the one who catches them does.

    CompactorError              any failure that has one clear sentence for the operator
    ├── UsageError              the command or the config is wrong: correct it, then run again (exit 2)
    │   └── ConfigError         one or more mistakes in a YAML file, all of them at once
    ├── SourceError             the source as a whole cannot be read: nothing was loaded       (exit 1)
    ├── ObjectError             ONE object cannot be read: it stays pending, the run continues (exit 1 at the end)
    │   ├── DamagedObject       its gzip is truncated, corrupt, or unpacks past the limit
    │   └── ChangedObject       it was replaced between listing and reading
    ├── MissingTableError       the table is not in the catalog: create it, or ask the operator to
    ├── LostTableError          a table is gone, or another or older one has its place: others continue (exit 1)
    ├── ConflictError           another writer committed first: plan again from a fresh load
    ├── TableVersionChanged     the tables were migrated meanwhile: start again with their new version
    └── InvariantError          our own sums do not hold: nothing of the batch is published    (exit 1)

Every message ends with the next step, and carries no record content: ids, file names and line numbers only.
"""

from __future__ import annotations


class CompactorError(Exception):
    """Base of all errors that this program raises on purpose. `str(error)` is one operator sentence."""

    exit_code = 1


class UsageError(CompactorError):
    """The command line or the config asks for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """Mistakes in a YAML file. `problems` holds one `file:line: sentence` for each, all found in one pass."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class SourceError(CompactorError):
    """The source cannot be listed or reached at all."""


class ObjectError(CompactorError):
    """One object cannot be read whole. `key` is its key within the source."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(message)


class DamagedObject(ObjectError):
    """The object's bytes are not a whole gzip stream, or unpack to more than the limit."""


class ChangedObject(ObjectError):
    """The object's ETag is no longer the listed one."""


class MissingTableError(CompactorError):
    """A table does not exist (yet)."""


class LostTableError(CompactorError):
    """A table that was there is gone from the catalog, or another or an older one has its place. Nothing is made again.

    Attributes:
        table: its name.
        wrong: what is wrong, as a clause.
        step: the next step, as an imperative.
    """

    def __init__(self, table: str, wrong: str, step: str) -> None:
        self.table, self.wrong, self.step = table, wrong, step
        super().__init__(f"{table}: {wrong}; {step}")


class ConflictError(CompactorError):
    """A concurrent commit won. Nothing of ours is visible; the caller plans again from a fresh load.

    Attributes:
        cause: what happened to which table, without advice.
        attempts: how many plans in a row ended so; more than one when the caller has given up.
    """

    def __init__(self, cause: str, *, attempts: int = 1) -> None:
        self.cause, self.attempts = cause, attempts
        advice = f" after {attempts} attempts; run again, or raise commit.attempts" if attempts > 1 else "; run again"
        super().__init__(cause + advice)


class TableVersionChanged(CompactorError):
    """The tables no longer have the columns that the caller knows. Nothing of ours is visible; start again.

    Attributes:
        cause: which table has changed, without advice.
        attempts: how many starts in a row ended so; more than one when the caller has given up.
    """

    def __init__(self, cause: str, *, attempts: int = 1) -> None:
        self.cause, self.attempts = cause, attempts
        advice = f" {attempts} times; run again when no migration is in progress" if attempts > 1 else "; run again"
        super().__init__(cause + advice)


class InvariantError(CompactorError):
    """The accounting does not add up: a defect of this program, found before it published anything."""

"""The decisions of `compactor.merge`, in Spark SQL: what the history takes, and how current state changes.

Pure text. `{name}` stands for what the caller hands to `SparkSession.sql` under that name.
"""

from __future__ import annotations

from collections.abc import Sequence

from compactor.merge.columns import record_columns
from compactor.registry.dataset import EXTRA, Dataset


def quote(name: str) -> str:
    """A name as an identifier of Spark SQL."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as a string of Spark SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def names(columns: Sequence[str], alias: str = "") -> str:
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + quote(name) for name in columns)


COUNTS = "SELECT file_no, count(*) AS n, count_if(unknown) AS unknown FROM {records} GROUP BY file_no"
REJECTED = "SELECT file_no, line_no, reject.* FROM {rows} WHERE reject IS NOT NULL"
CANDIDATES = (
    # Of each id, the records with its earliest time, unless the history has an earlier one.
    "SELECT c.*, h.__stored FROM ("
    " SELECT *, count(*) OVER (PARTITION BY record.id) AS __n FROM ("
    "  SELECT *, min(record.emitted_at) OVER (PARTITION BY record.id) AS __emitted_at FROM {records}"
    " ) WHERE record.emitted_at = __emitted_at"
    ") c LEFT JOIN (SELECT id AS __id, emitted_at AS __stored FROM {history}) h ON c.record.id = h.__id"
    " WHERE h.__stored IS NULL OR h.__stored >= c.__emitted_at"
)
CONTESTED = "SELECT file_no, line_no, record FROM {candidates} WHERE __n > 1 OR __stored = __emitted_at"


def tied(dataset: Dataset, earliest: str, latest: str) -> str:
    """The stored records that have the id and the time of a candidate, as `CONTESTED` has candidates.

    The times are those of the ties: files that cannot hold them are left unread.
    """
    columns = record_columns(dataset)
    struct = ", ".join(f"h.{quote(name)}" for name in columns)
    return (
        f"SELECT CAST(NULL AS INT) AS file_no, CAST(NULL AS BIGINT) AS line_no, struct({struct}) AS record"
        " FROM {history} h LEFT SEMI JOIN (SELECT record.id AS __id, __emitted_at FROM {candidates}"
        " WHERE __stored = __emitted_at) c ON h.id = c.__id AND h.emitted_at = c.__emitted_at"
        f" WHERE h.emitted_at BETWEEN TIMESTAMP {literal(earliest)} AND TIMESTAMP {literal(latest)}"
    )


JUDGED = (
    # Of equal contents the stored one stays, so that nothing is rewritten; then any rule that never changes.
    "SELECT file_no, line_no FROM (SELECT *, row_number() OVER (PARTITION BY id"
    " ORDER BY text, file_no IS NOT NULL, source_file, source_line) AS __place FROM {ranked})"
    " WHERE __place = 1 AND file_no IS NOT NULL"
)
FRESH = (
    "SELECT file_no AS __file_no, __stored IS NOT NULL AS __replaces, record.* FROM {candidates}"
    " WHERE __n = 1 AND (__stored IS NULL OR __stored > __emitted_at)"
)
FRESH_OF_JUDGED = (
    " UNION ALL SELECT c.file_no AS __file_no, __stored IS NOT NULL AS __replaces, record.* FROM {candidates} c"
    " LEFT SEMI JOIN {judged} j ON c.file_no = j.file_no AND c.line_no = j.line_no"
)


def unfit(dataset: Dataset) -> str:
    """Of each promotion, the records whose entry is in the map, while the column is NULL: it did not fit."""
    counts = []
    for each in dataset.promoted:
        text = f"record.{quote(each.source)}[{literal(each.key)}]".replace("{", "{{").replace("}", "}}")
        text = f"nullif({text}, 'null')" if each.source == EXTRA else text
        counts.append(f"count_if({text} IS NOT NULL AND record.{quote(each.column)} IS NULL)")
    return f"SELECT {', '.join(counts)} FROM {{records}}"


def into_history(dataset: Dataset, target: str, foreign: Sequence[str], *, replaces: bool) -> str:
    """Brings `fresh` into the history. Without records that replace stored ones there is nothing to match.

    Args:
        foreign: the columns that another engine has added. A row that is replaced keeps its values, as its id.
    """
    columns = record_columns(dataset)
    if not replaces:
        every = names([*columns, *foreign])
        return f"INSERT INTO {target} ({every}) SELECT {', '.join([names(columns), *_nulls(foreign)])} FROM {{fresh}}"
    return (
        f"MERGE INTO {target} t USING (SELECT {names(columns)} FROM {{fresh}}) s ON t.id = s.id"
        f" WHEN MATCHED THEN UPDATE SET {_set(columns)}"
        f" WHEN NOT MATCHED THEN {_insert(columns, foreign)}"
    )


def winners(dataset: Dataset, rows: str) -> str:
    """The greatest record of each key in `rows`, with `__gone`, whether it is a delete."""
    return (
        f"SELECT *, {_gone(dataset)} AS __gone FROM (SELECT {names(record_columns(dataset))}, row_number() OVER"
        f" (PARTITION BY {names(dataset.key)} ORDER BY {quote(dataset.order)} DESC, id DESC) AS __place FROM {rows})"
        " WHERE __place = 1"
    )


def unburied(dataset: Dataset) -> str:
    """Of `winners`, those whose key has no later delete in the history."""
    return (
        f"SELECT w.* FROM {{winners}} w LEFT ANTI JOIN (SELECT * FROM {{history}} WHERE {_gone(dataset)}) d"
        f" ON {_same(dataset, 'w', 'd')} AND {_greater(dataset, 'd', 'w')}"
    )


def into_current(dataset: Dataset, target: str, foreign: Sequence[str]) -> str:
    """Brings `winners` into the current table, where they are greater than what it has."""
    return _into(dataset, target, foreign, _greater(dataset, "s", "t"))


def keys_in(dataset: Dataset, table: str, paths: Sequence[str]) -> str:
    """The keys of the rows in the given data files."""
    return f"SELECT DISTINCT {names(dataset.key)} FROM {table} WHERE {in_files(paths)}"


def in_files(paths: Sequence[str]) -> str:
    return f"_file IN ({', '.join(map(literal, paths)) or 'NULL'})"


def derived(dataset: Dataset) -> str:
    """What the whole history says of each key in `touched`: its winner, or `__gone`."""
    columns = [name for name in record_columns(dataset) if name not in dataset.key]
    history = f"(SELECT h.* FROM {{history}} h LEFT SEMI JOIN {{touched}} k ON {_same(dataset, 'h', 'k')})"
    return (
        f"SELECT {names(dataset.key, 'k')}, {names(columns, 'w')}, coalesce(w.__gone, true) AS __gone"
        f" FROM {{touched}} k LEFT JOIN ({winners(dataset, history)}) w ON {_same(dataset, 'k', 'w')}"
    )


def as_derived(dataset: Dataset, target: str, foreign: Sequence[str]) -> str:
    """Brings what `derived` gives into the current table, in place of any row of the same key."""
    return _into(dataset, target, foreign, "true")


def _into(dataset: Dataset, target: str, foreign: Sequence[str], when: str) -> str:
    """Brings `winners` into the current table; a row that has their key gives way under the condition `when`.

    Args:
        foreign: the columns that another engine has added. Their values stay with the same record alone.
    """
    columns = record_columns(dataset)
    kept = [f"t.{quote(name)} = CASE WHEN t.id = s.id THEN t.{quote(name)} END" for name in foreign]
    return (
        f"MERGE INTO {target} t USING {{winners}} s ON {_same(dataset, 't', 's')}"
        f" WHEN MATCHED AND {when} AND s.__gone THEN DELETE"
        f" WHEN MATCHED AND {when} THEN UPDATE SET {', '.join([_set(columns), *kept])}"
        f" WHEN NOT MATCHED AND NOT s.__gone THEN {_insert(columns, foreign)}"
    )


def _insert(columns: Sequence[str], foreign: Sequence[str]) -> str:
    """Inserts a row of `s`. Spark asks for a value of each column."""
    values = ", ".join([names(columns, "s"), *_nulls(foreign)])
    return f"INSERT ({names([*columns, *foreign])}) VALUES ({values})"


def _nulls(columns: Sequence[str]) -> list[str]:
    return ["NULL"] * len(columns)


def _set(columns: Sequence[str]) -> str:
    return ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in columns)


def _same(dataset: Dataset, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} = {right}.{quote(name)}" for name in dataset.key)


def _greater(dataset: Dataset, left: str, right: str) -> str:
    """Whether a record is greater than another of its key (the contract, "Which record wins")."""
    order = quote(dataset.order)
    return f"({left}.{order} > {right}.{order} OR ({left}.{order} = {right}.{order} AND {left}.id > {right}.id))"


def _gone(dataset: Dataset) -> str:
    if not dataset.delete:
        return "false"
    values = ", ".join(map(literal, dataset.delete.values)).replace("{", "{{").replace("}", "}}")
    return f"coalesce({quote(dataset.delete.column)} IN ({values}), false)"

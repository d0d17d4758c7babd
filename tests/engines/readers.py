"""One interface over all engines: what each check asks, in the engine's own words.

An engine reads a table of one lake: through the catalog (Trino, Spark), or by the metadata file that the catalog names.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyiceberg.expressions import And, BooleanExpression, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.table import StaticTable

from tests.engines.results import Condition, EngineError, Result
from tests.engines.worker import Worker
from tests.engines.workers.answers import EPOCH, pairs_as_map
from tests.support.lake import Lake

Where = Sequence[Condition]
At = int | str | None
"""A snapshot's id, the name of a tag, or None for now."""
MetadataOf = Callable[[str], str]
"""Table -> the metadata file that the catalog names."""


def metadata_of(lake: Lake) -> MetadataOf:
    return lambda table: lake.tables.load_iceberg(table).metadata_location


@dataclass(frozen=True)
class Text:
    """In a condition: this timestamp, written as text. Engines that take no text are given the timestamp."""

    moment: datetime


class Reader(ABC):
    """An engine on one lake. All raise EngineError, or an exception of the engine's own that has its text."""

    @abstractmethod
    def rows(self, table: str, where: Where = (), at: At = None) -> Result: ...

    @abstractmethod
    def extremes(self, table: str, column: str) -> tuple[int, Any, Any]:
        """How many values are not null, the smallest and the greatest."""

    @abstractmethod
    def entries(self, table: str, column: str, key: str) -> list[tuple[str, str | None]]:
        """Each row's `id`, and the value of `key` in its map `column`."""

    @abstractmethod
    def files(self, table: str, where: Where) -> int:
        """How many data files a query opens, by the engine's plan or its counters."""


class SqlReader(Reader):
    """By SQL, as most engines take it; the dialects override what differs."""

    @abstractmethod
    def ask(self, sql: str, table: str, at: At = None) -> Result: ...

    def source(self, table: str, at: At) -> str:
        assert at is None
        return table

    def rows(self, table: str, where: Where = (), at: At = None) -> Result:
        return self.ask(self._select("*", table, where, at), table, at)

    def extremes(self, table: str, column: str) -> tuple[int, Any, Any]:
        what = f"count({column}), min({column}), max({column})"
        ((count, least, greatest),) = self.ask(self._select(what, table), table).rows
        return count, least, greatest

    def entries(self, table: str, column: str, key: str) -> list[tuple[str, str | None]]:
        found = self.ask(self._select(f"id, {self.entry(column, key)}", table), table).rows
        return [(id_, value) for id_, value in found]

    def entry(self, column: str, key: str) -> str:
        return f"{column}[{self.literal(key)}]"

    def _select(self, what: str, table: str, where: Where = (), at: At = None) -> str:
        conditions = " AND ".join(f"{c.column} {c.operator} {self.literal(c.value)}" for c in where)
        return f"SELECT {what} FROM {self.source(table, at)}" + (f" WHERE {conditions}" if conditions else "")

    def literal(self, value: Any) -> str:
        if isinstance(value, str):
            return "'" + value.replace("'", "''") + "'"
        if isinstance(value, Text):
            return self.text(value.moment.replace(tzinfo=None).isoformat(" ", "microseconds"))
        if isinstance(value, datetime):
            return self.moment(value)
        if isinstance(value, date):
            return f"DATE '{value.isoformat()}'"
        assert isinstance(value, int | float | Decimal)
        return str(value)

    def moment(self, value: datetime) -> str:
        """A time, as exactly as the engine accepts it."""
        return self.literal(Text(value))

    def text(self, text: str) -> str:
        """A time, as a person would write it."""
        return f"TIMESTAMP '{text} UTC'"


class TrinoReader(SqlReader):
    def __init__(self, ask: Callable[[str], Result]) -> None:
        self._ask = ask

    def ask(self, sql: str, table: str, at: At = None) -> Result:
        return self._ask(sql)

    def source(self, table: str, at: At) -> str:
        version = "" if at is None else f" FOR VERSION AS OF {self.literal(at)}"
        return f"{table}{version}"

    def entry(self, column: str, key: str) -> str:
        return f"element_at({column}, {self.literal(key)})"  # [] fails where the key is missing

    def files(self, table: str, where: Where) -> int:
        ((plan,),) = self._ask("EXPLAIN ANALYZE VERBOSE " + self._select("*", table, where)).rows
        return sum(_totals(plan, "'dataFiles' = LongCount{total="))


class SparkReader(SqlReader):
    def __init__(self, spark: Any) -> None:
        self._spark = spark

    def ask(self, sql: str, table: str, at: At = None) -> Result:
        found: Result = self._spark.ask(sql)
        return found

    def source(self, table: str, at: At) -> str:
        return table if at is None else f"{table} VERSION AS OF {self.literal(at)}"

    def literal(self, value: Any) -> str:
        if isinstance(value, str):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return super().literal(value)

    def files(self, table: str, where: Where) -> int:
        return int(self._spark.files(self._select("*", table, where)))


class SailReader(SparkReader):
    """By the table's folder: Sail takes no metadata file."""

    def __init__(self, worker: Worker, metadata: MetadataOf) -> None:
        self._worker, self._metadata = worker, metadata

    def ask(self, sql: str, table: str, at: At = None) -> Result:
        return self._worker.ask(sql=sql, table=table, folder=self._folder(table), at=at)

    def source(self, table: str, at: At) -> str:
        return table

    def files(self, table: str, where: Where) -> int:
        sql = self._select("*", table, where)
        return int(self._worker.call(sql=sql, table=table, folder=self._folder(table), files=True)["files"])

    def _folder(self, table: str) -> str:
        return _path(self._metadata(table)).partition("/metadata/")[0]


class DuckReader(SqlReader):
    """`connection` has the extension loaded."""

    def __init__(self, connection: Any, metadata: MetadataOf) -> None:
        self._connection, self._metadata = connection, metadata

    def ask(self, sql: str, table: str, at: At = None) -> Result:
        found = self._connection.sql(sql)
        columns = found.to_arrow_table().columns
        maps = [str(kind).startswith("MAP") for kind in found.types]
        values = [
            [pairs_as_map(value) for value in column.to_pylist()] if is_map else column.to_pylist()
            for column, is_map in zip(columns, maps, strict=True)
        ]
        return Result(found.columns, [str(kind) for kind in found.types], list(zip(*values, strict=True)))

    def source(self, table: str, at: At) -> str:
        at_ = "" if at is None else f", snapshot_from_id = {self.literal(at)}"
        return f"iceberg_scan('{self._metadata(table)}'{at_})"

    def moment(self, value: datetime) -> str:
        return f"make_timestamptz({_microseconds(value)})"

    def text(self, text: str) -> str:
        return f"TIMESTAMPTZ '{text}+00'"

    def files(self, table: str, where: Where) -> int:
        plan = self._connection.sql("EXPLAIN ANALYZE " + self._select("*", table, where)).fetchall()[0][1]
        return sum(_totals(plan, "Total Files Read: "))


class ClickHouseReader(SqlReader):
    """chDB, ClickHouse in a process."""

    def __init__(self, worker: Worker, metadata: MetadataOf) -> None:
        self._worker, self._metadata = worker, metadata

    def ask(self, sql: str, table: str, at: At = None) -> Result:
        settings = "" if at is None else f"iceberg_snapshot_id = {self.literal(at)}, "
        return self._worker.ask(sql=sql, settings=settings)

    def source(self, table: str, at: At) -> str:
        folder, _, file = _path(self._metadata(table)).rpartition("/metadata/")
        return f"icebergLocal('{folder}/', SETTINGS iceberg_metadata_file_path = 'metadata/{file}')"

    def literal(self, value: Any) -> str:
        if isinstance(value, str):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return super().literal(value)

    def moment(self, value: datetime) -> str:
        return f"fromUnixTimestamp64Micro({_microseconds(value)}, 'UTC')"

    def text(self, text: str) -> str:
        return f"toDateTime64('{text}', 6, 'UTC')"

    def entry(self, column: str, key: str) -> str:
        return f"{column}[{self.literal(key)}]"

    def files(self, table: str, where: Where) -> int:
        return int(self._worker.call(sql=self._select("*", table, where), files=True)["files"])


class FrameReader(Reader):
    """Polars or Daft."""

    def __init__(self, worker: Worker, metadata: MetadataOf) -> None:
        self._worker, self._metadata = worker, metadata

    def _call(self, table: str, where: Where = (), at: At = None, **what: Any) -> Any:
        request: dict[str, Any] = {"metadata": self._metadata(table)} | what
        if where:
            request["where"] = [
                (c.column, c.operator, c.value.moment if isinstance(c.value, Text) else c.value) for c in where
            ]
        if at is not None:
            request["tag" if isinstance(at, str) else "snapshot"] = at
        return self._worker.call(**request)

    def rows(self, table: str, where: Where = (), at: At = None) -> Result:
        found = self._call(table, where, at)
        return Result(found["names"], found["types"], [tuple(row) for row in found["rows"]])

    def extremes(self, table: str, column: str) -> tuple[int, Any, Any]:
        count, least, greatest = self._call(table, what="extremes", column=column)["row"]
        return count, least, greatest

    def entries(self, table: str, column: str, key: str) -> list[tuple[str, str | None]]:
        found = self._call(table, what="entries", column=column, key=key)["rows"]
        return [(id_, value) for id_, value in found]

    def files(self, table: str, where: Where) -> int:
        return int(self._call(table, where, what="files")["files"])


class PyIcebergReader(Reader):
    """The library that the compactor itself writes with, as a reader."""

    def __init__(self, metadata: MetadataOf) -> None:
        self._metadata = metadata

    def _scan(self, table: str, where: Where = (), at: At = None) -> Any:
        opened = StaticTable.from_metadata(self._metadata(table))
        scan = opened.scan(snapshot_id=at) if isinstance(at, int) else opened.scan()
        scan = scan.use_ref(at) if isinstance(at, str) else scan
        filters: dict[str, Callable[..., BooleanExpression]] = {
            "=": EqualTo,
            "<": LessThan,
            ">=": GreaterThanOrEqual,
        }
        expressions = [filters[c.operator](c.column, _iso(c.value)) for c in where]
        if not expressions:
            return scan
        return scan.filter(And(*expressions) if len(expressions) > 1 else expressions[0])

    def rows(self, table: str, where: Where = (), at: At = None) -> Result:
        scan = self._scan(table, where, at)
        found = scan.to_arrow()
        types = [str(field.field_type) for field in scan.projection().fields]
        maps = [pa.types.is_map(kind) for kind in found.schema.types]
        columns = [
            [pairs_as_map(value) for value in column.to_pylist()] if is_map else column.to_pylist()
            for column, is_map in zip(found.columns, maps, strict=True)
        ]
        return Result(found.column_names, types, list(zip(*columns, strict=True)))

    def extremes(self, table: str, column: str) -> tuple[int, Any, Any]:
        """The library has no aggregates: Arrow counts."""
        values = [row[column] for row in self.rows(table).dicts if row[column] is not None]
        return len(values), min(values, default=None), max(values, default=None)

    def entries(self, table: str, column: str, key: str) -> list[tuple[str, str | None]]:
        return [(row["id"], (row[column] or {}).get(key)) for row in self.rows(table).dicts]

    def files(self, table: str, where: Where) -> int:
        return len(list(self._scan(table, where).plan_files()))


def _path(location: str) -> str:
    """Of a local file. Spark writes file:/x where the compactor writes file:///x."""
    return "/" + location.removeprefix("file:").lstrip("/")


def _microseconds(value: datetime) -> int:
    return (value - EPOCH) // timedelta(microseconds=1)


def _iso(value: Any) -> Any:
    if isinstance(value, Text):
        value = value.moment
    return value.isoformat() if isinstance(value, datetime) else value


def _totals(plan: str, label: str) -> list[int]:
    """The numbers behind a label, wherever it stands in a plan."""
    found = re.findall(re.escape(label) + r"([\d,]+)", plan)
    if not found:
        raise EngineError(f"the plan has no {label}: {plan}")
    return [int(number.replace(",", "")) for number in found]

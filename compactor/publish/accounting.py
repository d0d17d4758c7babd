"""The sums of a batch: for each file, lines = new + duplicates + quarantined.

`lines` is counted where bytes are cut into lines, the rest is counted in the engine; a batch whose numbers do not
meet is not published.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from compactor.decode.rejects import BAD_VALUE
from compactor.duck.sql import literal
from compactor.errors import CompactorError, InvariantError

_COUNTS = pa.schema([("file_no", pa.int32()), ("lines", pa.int64()), ("new", pa.int64())])


@dataclass(frozen=True)
class Totals:
    """The sums of a batch, over its files."""

    lines: int
    new: int
    duplicates: int
    quarantined: int


def enter(
    con: duckdb.DuckDBPyConnection,
    dataset: str,
    lines: Mapping[int, int],
    new: Mapping[int, int],
    run_id: str,
    at: dt.datetime,
) -> Totals:
    """Makes `ledger_rows` and `quarantine_rows` for the `files` of the session, from `records` and `rejected`.

    Args:
        lines: lines per file_no, as they were cut. Files that are not in the session any more are left out.
        new: rows that the history takes, per file_no.
        at: when, aware UTC.

    Raises:
        InvariantError: the sums of a file do not hold.
    """
    numbers = sorted(lines.keys() | new.keys())
    columns = [numbers, [lines.get(n, 0) for n in numbers], [new.get(n, 0) for n in numbers]]
    con.register("cut", pa.table(columns, schema=_COUNTS))
    con.execute(
        "CREATE OR REPLACE TABLE account AS SELECT f.*, coalesce(c.lines, 0) AS lines, coalesce(c.new, 0) AS new,"
        " coalesce(s.n, 0) AS records, coalesce(r.n, 0) AS quarantined FROM files f LEFT JOIN cut c USING (file_no)"
        " LEFT JOIN records s USING (file_no)"
        " LEFT JOIN (SELECT file_no, count(*) AS n FROM rejected GROUP BY 1) r USING (file_no)"
    )
    con.unregister("cut")
    wrong = con.execute(
        "SELECT key, lines, records, quarantined, new FROM account"
        " WHERE lines <> records + quarantined OR new > records ORDER BY key LIMIT 1"
    ).fetchone()
    if wrong:
        key, cut, records, quarantined, taken = wrong
        raise InvariantError(
            f"{dataset}: the sums of {key} do not hold ({cut} lines, {records} records, {quarantined} quarantined,"
            f" {taken} new); nothing was published. This is a defect: please report it with the log of the run"
        )
    values = [dataset, run_id, at.replace(tzinfo=None)]
    con.execute(
        "CREATE OR REPLACE TABLE ledger_rows AS SELECT $1::VARCHAR AS dataset, key, etag, size, lines, new,"
        " records - new AS duplicates, quarantined, $2::VARCHAR AS run_id, $3::TIMESTAMP AS loaded_at FROM account",
        values,
    )
    con.execute(
        "CREATE OR REPLACE TABLE quarantine_rows AS SELECT $1::VARCHAR AS dataset, f.key AS source_file,"
        " r.line_no AS source_line, r.version, r.reason, r.detail, r.raw, $2::VARCHAR AS run_id,"
        " $3::TIMESTAMP AS quarantined_at, f.etag FROM rejected r JOIN files f USING (file_no)",
        values,
    )
    sums = con.execute(
        "SELECT coalesce(sum(lines), 0), coalesce(sum(new), 0), coalesce(sum(records - new), 0),"
        " coalesce(sum(quarantined), 0) FROM account"
    ).fetchone()
    assert sums is not None
    return Totals(*map(int, sums))


def enter_refused(con: duckdb.DuckDBPyConnection, dataset: str, run_id: str, at: dt.datetime) -> None:
    """Makes `ledger_rows` and `quarantine_rows` for stored records that leave the tables for the quarantine.

    Needs `refused` (source_file, source_line, version, detail, raw), `objects` (the ledger's rows of the dataset) and
    `kept_lines` (its rows of the quarantine). A refused line is quarantined in its object instead of new there or, if
    its record had been counted as new in another object, instead of a duplicate: then one line of another object that
    was new becomes a duplicate. So each object's sum holds, and the history has as many rows as there are new lines.
    """
    values = [dataset, run_id, at.replace(tzinfo=None)]
    con.execute(
        # A key that was replaced has several rows: the line was in one of those contents.
        "CREATE OR REPLACE TABLE refusals AS SELECT key, etag, count(*) AS n, least(any_value(new), count(*)) AS taken"
        " FROM refused JOIN (SELECT key, arg_max(etag, (new, loaded_at)) AS etag, max(new) AS new FROM objects GROUP BY"
        " key) ON key = source_file GROUP BY key, etag"
    )
    con.execute(
        "CREATE OR REPLACE TABLE counted AS SELECT o.*, coalesce(n, 0) AS refused,"
        " o.new - coalesce(taken, 0) AS left_new, coalesce(n - taken, 0) AS not_new"
        " FROM objects o LEFT JOIN refusals USING (key, etag)"
    )
    con.execute(
        "CREATE OR REPLACE TABLE moved AS SELECT *, greatest(0, least(left_new, (SELECT sum(not_new) FROM counted)"
        " - coalesce(sum(left_new) OVER (ORDER BY key, etag ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))"
        " AS moves FROM counted"
    )
    con.execute(
        "CREATE OR REPLACE TABLE ledger_rows AS SELECT dataset, key, etag, size, lines,"
        " (left_new - moves)::BIGINT AS new, (duplicates - not_new + moves)::BIGINT AS duplicates,"
        " (quarantined + refused)::BIGINT AS quarantined, run_id, loaded_at FROM moved WHERE refused > 0 OR moves > 0"
    )
    con.execute(
        "CREATE OR REPLACE TABLE quarantine_rows AS SELECT k.* FROM kept_lines k SEMI JOIN ledger_rows l"
        " ON k.source_file = l.key AND k.etag = l.etag UNION ALL BY NAME SELECT $1::VARCHAR AS dataset, source_file,"
        f" source_line, version, {literal(BAD_VALUE)} AS reason, detail, raw, $2::VARCHAR AS run_id, $3::TIMESTAMP AS"
        " quarantined_at, etag FROM refused JOIN refusals ON key = source_file",
        values,
    )
    (lost,) = con.execute("SELECT count(*) FROM refused ANTI JOIN objects ON key = source_file").fetchall()[0]
    if lost:
        raise CompactorError(
            f"{dataset}: {lost} rows cannot be brought to the new shape, and the ledger does not have their objects, so"
            " that they cannot go to the quarantine; correct or remove these rows with another engine, then run again"
        )

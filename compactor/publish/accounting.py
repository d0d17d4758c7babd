"""The accounts of a batch: for each file, lines = new + duplicates + quarantined.

`lines` is counted where bytes are cut into lines, the rest is counted in the session; a batch whose numbers do not
agree is not published.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from compactor.decode.decoded import Decoded
from compactor.decode.rejects import BAD_VALUE
from compactor.duck.relations import Relation, Relations
from compactor.duck.sql import literal, number
from compactor.errors import CompactorError, InvariantError

_COUNTS = pa.schema([("file_no", pa.int32()), ("lines", pa.int64()), ("new", pa.int64())])


@dataclass(frozen=True)
class Entries:
    """What ledger and quarantine are to say of a batch: rows with the columns of these tables."""

    ledger: Relation
    quarantine: Relation


@dataclass(frozen=True)
class Totals:
    """The sums of a batch, over its files."""

    lines: int
    new: int
    duplicates: int
    quarantined: int


@dataclass(frozen=True)
class Accounts:
    """The accounts of a batch, whose sums hold."""

    entries: Entries
    totals: Totals


def account(
    relations: Relations,
    dataset: str,
    decoded: Decoded[object],
    new: Mapping[int, int],
    run_id: str,
    at: dt.datetime,
) -> Accounts:
    """Makes the entries of a batch's files.

    Args:
        new: rows that the history takes, per file_no.
        at: when, aware UTC.

    Raises:
        InvariantError: the sums of a file do not hold.
    """
    con, lines = relations.con, decoded.lines
    numbers = sorted(lines.keys() | new.keys())
    columns = [numbers, [lines.get(n, 0) for n in numbers], [new.get(n, 0) for n in numbers]]
    with relations.arrow("cut", pa.table(columns, schema=_COUNTS)) as cut:
        sums = relations.table(
            "sums",
            "SELECT f.*, coalesce(c.lines, 0) AS lines, coalesce(c.new, 0) AS new, coalesce(s.n, 0) AS records,"
            f" coalesce(r.n, 0) AS quarantined FROM {decoded.files} f LEFT JOIN {cut} c USING (file_no)"
            f" LEFT JOIN {decoded.counts} s USING (file_no)"
            f" LEFT JOIN (SELECT file_no, count(*) AS n FROM {decoded.rejected} GROUP BY 1) r USING (file_no)",
        )
    wrong = con.execute(
        f"SELECT key, lines, records, quarantined, new FROM {sums}"
        " WHERE lines <> records + quarantined OR new > records ORDER BY key LIMIT 1"
    ).fetchone()
    if wrong:
        key, cut_lines, records, quarantined, taken = wrong
        raise InvariantError(
            f"{dataset}: the sums of {key} do not hold ({cut_lines} lines, {records} records,"
            f" {quarantined} quarantined, {taken} new); nothing was published. This is a defect: please report it with"
            " the log of the run"
        )
    values = [dataset, run_id, at.replace(tzinfo=None)]
    ledger = relations.table(
        "ledger_entries",
        "SELECT $1::VARCHAR AS dataset, key, etag, size, lines, new, records - new AS duplicates, quarantined,"
        f" $2::VARCHAR AS run_id, $3::TIMESTAMP AS loaded_at FROM {sums}",
        values,
    )
    quarantine = relations.table(
        "quarantine_entries",
        "SELECT $1::VARCHAR AS dataset, f.key AS source_file, r.line_no AS source_line, r.version, r.reason, r.detail,"
        " r.raw, $2::VARCHAR AS run_id, $3::TIMESTAMP AS quarantined_at, f.etag"
        f" FROM {decoded.rejected} r JOIN {decoded.files} f USING (file_no)",
        values,
    )
    totals = con.execute(
        "SELECT coalesce(sum(lines), 0), coalesce(sum(new), 0), coalesce(sum(duplicates), 0),"
        f" coalesce(sum(quarantined), 0) FROM {ledger}"
    ).fetchall()[0]
    relations.drop(sums)
    return Accounts(Entries(ledger, quarantine), Totals(*map(int, totals)))


def account_refused(
    relations: Relations,
    dataset: str,
    refused: Relation,
    objects: Relation,
    quarantined: Relation,
    run_id: str,
    at: dt.datetime,
) -> Entries:
    """Makes the entries for stored records that leave the tables for the quarantine.

    A refused line is quarantined in its object instead of new there or, if its record had been counted as new in
    another object, instead of a duplicate: then one line of another object that was new becomes a duplicate. So each
    object's sum holds, and the history has as many rows as there are new lines.

    Args:
        refused: (source_file, source_line, version, detail, raw) of the records.
        objects: the ledger's rows of the dataset.
        quarantined: the quarantine's rows of the dataset.

    Raises:
        CompactorError: the ledger does not have the object of a record.
    """
    con = relations.con
    refusals = relations.table(
        "refusals",
        # A key that was replaced has several rows: the line was in one of those contents.
        "SELECT key, etag, count(*) AS n, least(any_value(new), count(*)) AS taken"
        f" FROM {refused} JOIN (SELECT key, arg_max(etag, (new, loaded_at)) AS etag, max(new) AS new FROM {objects}"
        " GROUP BY key) ON key = source_file GROUP BY key, etag",
    )
    counted = relations.table(
        "counted",
        "SELECT o.*, coalesce(n, 0) AS refused, o.new - coalesce(taken, 0) AS left_new,"
        f" coalesce(n - taken, 0) AS not_new FROM {objects} o LEFT JOIN {refusals} USING (key, etag)",
    )
    moved = relations.table(
        "moved",
        f"SELECT *, greatest(0, least(left_new, (SELECT sum(not_new) FROM {counted})"
        " - coalesce(sum(left_new) OVER (ORDER BY key, etag ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))"
        f" AS moves FROM {counted}",
    )
    ledger = relations.table(
        "ledger_entries",
        "SELECT * EXCLUDE (refused, left_new, not_new, moves) REPLACE ((left_new - moves)::BIGINT AS new,"
        " (duplicates - not_new + moves)::BIGINT AS duplicates, (quarantined + refused)::BIGINT AS quarantined)"
        f" FROM {moved} WHERE refused > 0 OR moves > 0",
    )
    quarantine = relations.table(
        "quarantine_entries",
        f"SELECT k.* FROM {quarantined} k SEMI JOIN {ledger} l ON k.source_file = l.key AND k.etag = l.etag"
        f" UNION ALL BY NAME SELECT $1::VARCHAR AS dataset, source_file, source_line, version,"
        f" {literal(BAD_VALUE)} AS reason,"
        " detail, raw, $2::VARCHAR AS run_id, $3::TIMESTAMP AS quarantined_at, etag"
        f" FROM {refused} JOIN {refusals} ON key = source_file",
        [dataset, run_id, at.replace(tzinfo=None)],
    )
    lost = number(con, f"SELECT count(*) FROM {refused} ANTI JOIN {objects} ON key = source_file")
    if lost:
        raise CompactorError(
            f"{dataset}: {lost} rows cannot be brought to the new version, and the ledger does not have their objects,"
            " so that they cannot go to the quarantine; correct or remove these rows with another engine, then run"
            " again"
        )
    return Entries(ledger, quarantine)

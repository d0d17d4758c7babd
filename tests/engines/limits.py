"""What is checked, and what each engine cannot do in the version that is pinned.

A check with a limit that begins to pass fails the suite: then the limit is to be taken out here.
"""

from __future__ import annotations

from engines.board import Limit

CHECKS = {
    "values": "all tables: every row, every value",
    "types": "types, as the engine names them",
    "extremes": "count, min, max of each column",
    "unicode": "filters by odd texts",
    "nulls": "nulls, and maps that are empty or NULL",
    "maps": "a key of a map",
    "times": "timestamptz from year 1 to 9999, to the microsecond",
    "literals": "such times written as text in a filter",
    "days": "a day's filter opens that day's files alone",
    "lookup": "a point lookup opens one file of many",
    "snapshot": "time travel by snapshot",
    "tag": "time travel by tag",
}
NULL_MAP = Limit(
    "a map that is NULL is read as an empty one", r"differ in \['traits'\], such as \{'traits': \(\{\}, None\)\}$"
)
LIMITS: dict[tuple[str, str], Limit] = {
    ("chdb", "values"): NULL_MAP,
    ("chdb", "nulls"): NULL_MAP,
    ("chdb", "literals"): Limit(
        "a text of a time before 1900 or after 2299 means another; `fromUnixTimestamp64Micro(…, 'UTC')` does not",
        "0 rows instead of 1$",
    ),
    ("duckdb", "literals"): Limit(
        "a text of a time before 1582-10-15 is taken by the Julian calendar; `make_timestamptz(microseconds)` is not",
        "^= 1582-10-04 12:00:00.*0 rows instead of 1$",
    ),
}

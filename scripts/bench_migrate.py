"""Migrates a large table, as one process of a benchmark, after `bench_merge.py fill FOLDER ROWS DAYS`.

    python scripts/bench_migrate.py in-place FOLDER    a rename, a removal and a new column
    python scripts/bench_migrate.py retype FOLDER      then another type for a column, which rewrites the table

Prints one JSON object: the seconds, the rows, the data files, and how many of these are unchanged (`kept`).
"""

from __future__ import annotations

import json
import sys

from bench_merge import DATASET, Lake, timed
from compactor.commands.migrate import migrate
from compactor.progress import NullProgress

_IN_PLACE = """\
  2:
    changes:
      - rename: {from: tier, to: level}
      - remove: {field: spend}
      - add: {field: channel, type: string}
"""
_RETYPE = """\
  3:
    changes:
      - retype: {field: visits, to: string}
      - default: {field: channel, value: app}
"""


def apply(folder: str, changes: str) -> dict[str, float]:
    lake = Lake(folder, changes)
    before = {file.file_path for file in lake.tables.table(DATASET).files}
    found = timed(lambda: migrate.apply(lake.config, lake.registry, plan_id=None, progress=NullProgress()))
    files = lake.tables.table(DATASET).files
    rows = sum(file.record_count for file in files)
    return found | {"rows": rows, "files": len(files), "kept": len(before & {file.file_path for file in files})}


if __name__ == "__main__":
    what, where = sys.argv[1:]
    print(json.dumps(apply(where, _IN_PLACE if what == "in-place" else _IN_PLACE + _RETYPE)))

"""Runs `compact` once and counts how often it loads each table from the catalog.

    python scripts/bench_run.py CONFIG

Prints one JSON object: the loads by table.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog

import compactor


def main(config: str) -> None:
    loads: Counter[str] = Counter()
    load_table = SqlCatalog.load_table

    def counted(catalog: SqlCatalog, identifier: Any) -> Any:
        loads[identifier.rpartition(".")[2] if isinstance(identifier, str) else identifier[-1]] += 1
        return load_table(catalog, identifier)

    SqlCatalog.load_table = counted  # type: ignore[assignment,method-assign]  # counting is all that changes
    compactor.open(config).compact()
    print(json.dumps({"loads": loads}), flush=True)
    os._exit(0)  # as the command line does, see `cli.exit`


if __name__ == "__main__":
    main(*sys.argv[1:])

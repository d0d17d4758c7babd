"""Runs `compact` once and counts how often it loads each table: reads and parses a metadata file of it.

    python scripts/bench_run.py CONFIG

Prints one JSON object: the loads by table.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

from pyiceberg.serializers import FromInputFile

import compactor


def main(config: str) -> None:
    loads: Counter[str] = Counter()
    parse = FromInputFile.table_metadata

    def counted(file: Any, *arguments: Any) -> Any:
        loads[file.location.split("/")[-3]] += 1  # …/<table>/metadata/<file>
        return parse(file, *arguments)

    FromInputFile.table_metadata = staticmethod(counted)  # type: ignore[assignment]  # counting is all that changes
    compactor.open(config).compact()
    print(json.dumps({"loads": loads}), flush=True)
    os._exit(0)  # as the command line does, see `cli.exit`


if __name__ == "__main__":
    main(*sys.argv[1:])

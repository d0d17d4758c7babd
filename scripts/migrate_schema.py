"""Migrates the tables from a pipeline; the same as `compactor migrate plan`, `apply` and `rollback`.

    python scripts/migrate_schema.py plan|apply|rollback [OPTIONS]

The config is that of COMPACTOR_CONFIG (default configs/local.yaml).
"""

from __future__ import annotations

import sys

from compactor.cli.main import run

if __name__ == "__main__":
    sys.argv = ["compactor", "migrate", *sys.argv[1:]]
    run()

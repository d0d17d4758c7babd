"""The entry that a pipeline calls to migrate the tables: `migrate_schema.py plan|apply|rollback [OPTIONS]`.

The same as `compactor migrate …`, with the config from COMPACTOR_CONFIG (default configs/local.yaml).
"""

from __future__ import annotations

import sys

from compactor.cli.main import run

if __name__ == "__main__":
    sys.argv = ["compactor", "migrate", *sys.argv[1:]]
    run()

"""The command line for `spark-submit`, with the arguments of `compactor`. See docs/spark.md.

spark-submit … scripts/spark_main.py compact --engine spark
"""

from __future__ import annotations

from compactor.cli.main import run

run()

"""The command line as a program for `spark-submit`: its arguments are those of `compactor`. See docs/spark.md."""

from compactor.cli.main import run

run()

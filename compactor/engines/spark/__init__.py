"""The engine for more than one machine: it reads, deduplicates and merges on Spark, with Iceberg's own runtime.

It works out changes and commits none: those go through the same protocol as the changes of the engine in this process
(`compactor.publish`). Decoding is the same code too, run by Spark's workers, so that both engines read a line alike.

    session    the Spark session of a run, and where its Iceberg runtime comes from
    decode     on the workers: objects to rows
    clone      a table as Spark may change it: a copy of its metadata that no catalog knows
    work       the batch: decisions as Spark SQL, `MERGE INTO` on a clone
"""

from compactor.engines.spark.session import SparkEngine

__all__ = ["SparkEngine"]

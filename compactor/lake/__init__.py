"""Iceberg tables. Only this package and `engines.spark.clone` know PyIceberg."""

from compactor.lake import library

library.keep_apart()  # before any module of this package imports more of PyIceberg

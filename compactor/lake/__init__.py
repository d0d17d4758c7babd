"""Iceberg tables. Only this package and `engines.spark.clone` know PyIceberg."""

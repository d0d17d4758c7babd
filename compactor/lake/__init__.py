"""Iceberg tables; the rest of the program knows no PyIceberg."""

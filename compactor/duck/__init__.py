"""The DuckDB session."""

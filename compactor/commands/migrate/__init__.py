"""`migrate`: brings the tables to the registry's newest version, and back."""

"""`infer`: drafts the registry from the data."""

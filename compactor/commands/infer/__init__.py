"""`infer`: drafts the registry from the data, or checks the registry against it."""

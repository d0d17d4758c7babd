"""`drift`: fields that the registry does not declare."""

"""Tables brought to a new version of the registry."""

"""The values that verbs return."""

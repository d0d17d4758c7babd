"""What verbs return."""

"""Which record wins."""

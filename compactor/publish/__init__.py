"""The commit protocol: how one batch changes several tables so that they agree."""

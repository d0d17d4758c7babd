"""`relocate`: a lake that was moved or copied to another place."""

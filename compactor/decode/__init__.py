"""Bytes to typed rows."""

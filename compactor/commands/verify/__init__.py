"""`verify`: what the tables must hold, and how a finding is repaired."""

"""The types of fields, and the values of each."""

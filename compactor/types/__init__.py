"""The type of a field: its forms, its values, and conversions to other types."""

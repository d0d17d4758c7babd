"""The version of this program. The build reads it from here; reports and the table of runs show it."""

from __future__ import annotations

__version__ = "0.1.0"

"""The version of this program: the build reads it from here, and it stands in every report and log of runs."""

from __future__ import annotations

__version__ = "0.1.0"

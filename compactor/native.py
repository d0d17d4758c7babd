"""The library of native code (`native/`), which is compiled when the package is installed. It can be missing."""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).with_name("_native.so")

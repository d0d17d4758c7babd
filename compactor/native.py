"""The library of native code (`native/`), which is compiled when the package is installed. It can be missing.

`decode.scanner` reads lines by it, and `duck.taking` takes rows. Each has a slower way for when it is missing.
"""

from __future__ import annotations

from pathlib import Path

LIBRARY = Path(__file__).with_name("_native.so")

"""The library of native code (`native/`), which is compiled when the package is installed. It can be missing.

`decode.scanner` reads lines by it, and `duck.taking` takes rows. Each has a slower way for when it is missing.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

LIBRARY = Path(__file__).with_name("_native.so")
_ABI = 1  # of `native/scanner.h`


def load() -> ctypes.CDLL:
    """The library. Raises OSError or AttributeError if it is not there or does not fit."""
    library = ctypes.CDLL(str(LIBRARY))
    if library.scanner_abi() != _ABI:
        raise OSError("it is of another version of the program")
    return library

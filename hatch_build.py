"""Compiles the native library (`native/`) when a wheel or an editable install is built.

The compiler is `$CC`, else `cc`, `gcc` or `clang`, else that of the package `ziglang`, which is a requirement of the
build only where no other works. If none works, or if COMPACTOR_NATIVE=0 is set, what is built has no library: the
program then works, slowly, and logs a warning.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

ROOT = Path(__file__).parent
SOURCES = sorted((ROOT / "native").glob("*.c"))
LIBRARY = ROOT / "compactor" / "_native.so"
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden")  # for each processor of the architecture: wheels travel
# The baseline is the processors that other compilers compile for when none is named.
_ZIG = (sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline")
_PROBE = "#include <math.h>\n#include <stdlib.h>\ndouble probe(const char *it) { return fabs(strtod(it, 0)); }\n"


class CustomBuildHook(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        return ["ziglang>=0.14"] if _is_on() and compiler() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  the interface's signature
        try:
            if not _is_on():
                raise OSError("COMPACTOR_NATIVE is 0")
            build(LIBRARY, compiler() or _ZIG)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(f"the native scanner is left out: {error}")
            LIBRARY.unlink(missing_ok=True)  # it may be of other sources
            return
        platforms = (tag.platform for tag in sys_tags())
        platform = next(each for each in platforms if "manylinux" not in each and "musllinux" not in each)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append(f"/{LIBRARY.relative_to(ROOT).as_posix()}")


@cache
def compiler() -> tuple[str, ...] | None:
    """The command of a compiler that works, the package `ziglang` apart; None if there is none."""
    named = os.environ.get("CC")
    for command in [tuple(shlex.split(named))] if named else [("cc",), ("gcc",), ("clang",)]:
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.c")
            probe.write_text(_PROBE)
            try:
                build(Path(folder, "probe.so"), command, [probe])
            except (OSError, subprocess.CalledProcessError):
                continue
            return command
    return None


def build(library: Path, command: Sequence[str], sources: Sequence[Path] = SOURCES, flags: Sequence[str] = ()) -> None:
    """Compiles a library. It takes the place of an older one in one step, as that may be in use.

    Raises OSError or CalledProcessError.
    """
    new = library.with_name(f"{library.name}.{os.getpid()}")
    words = [*command, *_FLAGS, *flags, "-shared", "-o", str(new), *map(str, sources), "-lm"]
    try:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        new.replace(library)
    finally:
        new.unlink(missing_ok=True)


def _is_on() -> bool:
    return os.environ.get("COMPACTOR_NATIVE") != "0"

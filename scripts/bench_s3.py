"""Measures a load from S3 into S3 with a delay of each request, beside the same load on a local disk.

    python scripts/bench_s3.py               prints a table
    python scripts/bench_s3.py --delay 0.1   with 100 ms for each request
    python scripts/bench_s3.py --moto        with moto's server behind a hop that delays

The storage is a server in memory, a process of its own (`tests.support.memory_s3`). moto takes 3 to 6 ms of a core for
a request, which would be in the figures. The catalog is a file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

SCRIPTS = Path(__file__).resolve().parent
sys.path.insert(0, str(SCRIPTS.parent))

from bench_data import EVENTS, PROFILES, Part, write_export  # noqa: E402
from tests.support.memory_s3 import memory_s3, requests  # noqa: E402
from tests.support.slow_s3 import moto_process, slow_hop  # noqa: E402

if TYPE_CHECKING:
    from bench_figures import Sample

DELAY = 0.03
_KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
_BUCKET = "bench-bucket"


@dataclass(frozen=True)
class Distance:
    """One load, near and far. `requests`: what the far one sent, by method. `most`: times of the near one, at most."""

    name: str
    near: Sample
    far: Sample
    requests: dict[str, int]
    most: float

    @property
    def ratio(self) -> float:
        return self.far.seconds / self.near.seconds


def distances(
    folder: Path,
    measure: Callable[..., Sample],
    report: Callable[[str], None],
    *,
    delay: float = DELAY,
    moto: bool = False,
) -> Iterator[Distance]:
    """Measures both loads. `measure` runs a script of this folder to its end, and `report` shows what is being done."""
    loads = (
        ("1,440 tiny files, 20 days", _tiny_files, EVENTS, 3),
        ("first snapshot, 1,000 days", _many_days, PROFILES, 4),
    )
    for name, make, dataset, most in loads:
        report(f"{name}: generating")
        make(folder / "source")
        report(f"{name}: on a local disk")
        near = measure(
            "bench_load.py", "compact", _config(folder / "near", {"url": str(folder / "source")}, {}), dataset
        )
        report(f"{name}: on S3, {delay * 1000:.0f} ms a request")
        with _environment(_KEYS), _moto(delay) if moto else _memory(delay) as (server, counted):
            _fill(server, folder / "source")
            before = counted()
            storage = {"s3.endpoint": server, "s3.region": "us-east-1", "warehouse": f"s3://{_BUCKET}/warehouse"}
            catalog = {"type": "sql", "uri": f"sqlite:///{folder}/far/catalog.db", **storage}
            exports = {"url": f"s3://{_BUCKET}/in", "endpoint": server, "region": "us-east-1"}
            far = measure("bench_load.py", "compact", _config(folder / "far", exports, catalog), dataset)
            sent = counted() - before
        for fact in ("lines", "new", "quarantined"):
            if near.found[fact] != far.found[fact]:
                raise SystemExit(f"{name}: {fact} differs: {near.found} and {far.found}; no figure is valid")
        for part in ("source", "near", "far"):
            shutil.rmtree(folder / part)
        yield Distance(name, near, far, dict(sent), most)


Server = tuple[str, Callable[[], Counter[str]]]
"""The URL of a server, and what counts its requests by method."""


@contextmanager
def _memory(delay: float) -> Iterator[Server]:
    with memory_s3(delay) as url:
        yield url, lambda: Counter(requests(url))


@contextmanager
def _moto(delay: float) -> Iterator[Server]:
    with moto_process() as server, slow_hop(server, delay) as hop:
        yield hop.url, hop.requests.copy


def _tiny_files(source: Path) -> None:
    write_export(source, [Part(EVENTS, 1440, 30, per_hour=3)])


def _many_days(source: Path) -> None:
    rng, start = random.Random(7), datetime(2026, 11, 1, tzinfo=UTC)
    lines = []
    for number in range(20_000):
        updated = start - timedelta(days=number % 1000, seconds=rng.randrange(86_000))
        record = {
            "id": rng.randbytes(16).hex(),
            "version": 1,
            "roverID": f"fan-{number:07d}",
            "emittedAt": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "updatedAt": f"{updated:%Y-%m-%dT%H:%M:%SZ}",
            "traits": {"tier": rng.choice(("gold", "silver")), "spend": number},
        }
        lines.append(json.dumps(record).encode())
    path = (
        source / "exports" / PROFILES / "date=2026-11-01" / "hour=00" / f"{PROFILES}-20261101T000000Z-part-0.ndjson.gz"
    )
    path.parent.mkdir(parents=True)
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    path.write_bytes(packer.compress(b"\n".join(lines) + b"\n") + packer.flush())


def _config(folder: Path, source: dict[str, str], catalog: dict[str, str]) -> Path:
    folder.mkdir()
    settings: dict[str, Any] = {"source": source, "schemas": str(SCRIPTS.parent / "configs" / "schemas")}
    settings |= {"catalog": {"properties": catalog}} if catalog else {"warehouse": "warehouse"}
    file = folder / "config.yaml"
    file.write_text(json.dumps(settings))
    return file


def _fill(server: str, source: Path) -> None:
    client = boto3.session.Session().client("s3", endpoint_url=server)
    client.create_bucket(Bucket=_BUCKET)
    files = [path for path in source.rglob("*.gz") if path.is_file()]
    with ThreadPoolExecutor(10) as pool:
        for done in [
            pool.submit(client.put_object, Bucket=_BUCKET, Key=f"in/{path.relative_to(source)}", Body=path.read_bytes())
            for path in files
        ]:
            done.result()


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def main() -> None:
    from bench_figures import measure, report  # noqa: PLC0415  `bench` imports this module

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=DELAY, help="seconds for each request")
    parser.add_argument("--moto", action="store_true", help="moto's server")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compactor-bench-s3-") as folder:
        for found in distances(Path(folder), measure, report, delay=arguments.delay, moto=arguments.moto):
            sent = ", ".join(f"{count} {method}" for method, count in sorted(found.requests.items()))
            print(
                f"{found.name}: {found.near.seconds:.2f} s local, {found.far.seconds:.2f} s on S3"
                f" (CPU {found.near.found['cpu_seconds']:.2f} and {found.far.found['cpu_seconds']:.2f}),"
                f" {found.ratio:.1f} times, aim <= {found.most:g}; {sent};"
                f" peak {found.near.peak_bytes / 1e6:.0f} and {found.far.peak_bytes / 1e6:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""A lake on the test server: exports in S3, tables in S3, a Glue catalog, `configs/aws.yaml` itself."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support.glue_server import OWNER, AwsServer
from tests.support.lake import ROOT, Lake

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


CONFIG = ROOT / "configs" / "aws.yaml"


PREFIX = "rover/team-7"


NIGHTLY = ("compact", "--json")


FAN, GONE = (f"{number:08d}-0000-4000-8000-000000000000" for number in (1, 2))


_numbers = itertools.count(1)


class AwsLake(Lake):
    """A lake on the server. It has buckets and a Glue database of its own; the environment leads the config there."""

    def __init__(self, folder: Path, server: AwsServer, environment: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        number = next(_numbers)
        self.file = CONFIG
        self.database, self.export_bucket, self.lake_bucket = f"rover_{number}", f"export-{number}", f"lake-{number}"
        settings = {
            "AWS_ENDPOINT_URL": server.url,
            "ROVER_EXPORT_BUCKET": self.export_bucket,
            "ROVER_EXPORT_PREFIX": PREFIX,
            "ROVER_LAKE_BUCKET": self.lake_bucket,
            "ROVER_NAMESPACE": self.database,
        }
        for name, value in settings.items():
            environment.setenv(name, value)
        owner = boto3.session.Session(aws_access_key_id=OWNER, aws_secret_access_key="test-secret")
        self.s3: S3Client = owner.client("s3")
        for bucket in (self.export_bucket, self.lake_bucket):
            self.s3.create_bucket(Bucket=bucket)

    def deliver(self, dataset: str, lines: Sequence[bytes], **where: Any) -> str:
        key = super().deliver(dataset, lines, **where)
        self.s3.put_object(Bucket=self.export_bucket, Key=f"{PREFIX}/{key}", Body=(self.source / key).read_bytes())
        return key

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Runs the command line on its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "compactor", "-c", "configs/aws.yaml", *words],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, exit_code: int = 0) -> Any:
        """Runs the command line to its end; what it printed, parsed."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == exit_code, err
        return json.loads(out)

    def objects(self) -> dict[str, str]:
        """All that lies in the tables' bucket: key -> ETag."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.lake_bucket)
        return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}


@pytest.fixture
def aws_lake(
    tmp_path: Path,
    aws_server: AwsServer,
    aws_environment: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[AwsLake]:
    lake = AwsLake(tmp_path, aws_server, monkeypatch)
    yield lake
    lake.s3.close()
    aws_server.denied = set()


def line(id_: str, **fields: Any) -> bytes:
    record = {"id": id_, "version": 1, "roverID": FAN, "emittedAt": "2026-11-01T05:00:00Z", **fields}
    return json.dumps(record).encode()


def profile(id_: str, updated: str, **traits: Any) -> bytes:
    return line(id_, updatedAt=updated, traits=traits)


def identity(id_: str, updated: str, value: str, operation: str = "upsert") -> bytes:
    return line(id_, updatedAt=updated, identifierType="email", identifierValue=value, operation=operation)


def event(id_: str, occurred: str, name: str = "App Opened") -> bytes:
    return line(id_, occurredAt=occurred, event=name, attributes={"screen": "home"}, device={"os": "iOS"})


def deliver_first_hour(lake: AwsLake) -> None:
    first = [profile("p1", "2026-10-30T10:00:00Z", tier="gold", spend=12.5), b'{"id": "broken"']
    lake.deliver("fan_profiles", first)
    ties = [identity("i1", "2026-10-30T10:00:00Z", "a@example.com"), identity("i2", "2026-10-31T10:00:00Z", "b@x.org")]
    lake.deliver("fan_identity_graph", ties)
    merge = line("m1", fromRoverID=GONE, toRoverID=FAN, mergedAt="2026-10-31T23:59:59Z")
    lake.deliver("fan_profile_merges", [merge])
    lake.deliver("fan_track_events", [event(f"e{n}", f"2026-11-01T0{n}:30:00Z") for n in range(5)], part="replaced")


def deliver_next_hour(lake: AwsLake) -> None:
    """A newer profile, a late one and a duplicate; a delete, and an upsert older than it; a key with new content."""
    hour = "2026-11-01T06"
    newer, late = profile("p2", "2026-11-01T05:30:00Z", spend=20), profile("p0", "2026-10-29T08:00:00Z", tier="new")
    lake.deliver(
        "fan_profiles", [newer, late, profile("p1", "2026-10-30T10:00:00Z", tier="gold", spend=12.5)], hour=hour
    )
    delete = identity("i3", "2026-11-01T05:40:00Z", "a@example.com", "delete")
    lake.deliver("fan_identity_graph", [delete, identity("i0", "2026-10-29T10:00:00Z", "a@example.com")], hour=hour)
    again = [event(f"e{n}", f"2026-11-01T0{n}:30:00Z") for n in range(6)]
    lake.deliver("fan_track_events", again, part="replaced")

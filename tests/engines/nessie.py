"""A catalog that speaks Iceberg's REST protocol: Nessie, one jar, over an S3 server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.engines import places
from tests.engines.ready import free_port, wait_until_ready

WAREHOUSE = "lake"


class Nessie:
    """Keeps its tables in memory, their files below `location`. `uri` is for clients."""

    def __init__(self, folder: Path, *, location: str, endpoint: str, key: str, secret: str) -> None:
        port = free_port()
        s3 = "nessie.catalog.service.s3.default-options"
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(port),
            "quarkus.management.port": str(free_port()),
            "quarkus.http.access-log.enabled": "false",
            "nessie.version.store.type": "IN_MEMORY",
            "nessie.catalog.default-warehouse": WAREHOUSE,
            f"nessie.catalog.warehouses.{WAREHOUSE}.location": location,
            f"{s3}.endpoint": endpoint,
            f"{s3}.path-style-access": "true",
            f"{s3}.region": "us-east-1",
            f"{s3}.request-signing-enabled": "false",
            f"{s3}.access-key": "urn:nessie-secret:quarkus:test-keys.s3",
            "test-keys.s3.name": key,
            "test-keys.s3.secret": secret,
        }
        self.uri = f"http://127.0.0.1:{port}/iceberg"
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        options = [f"-D{name}={value}" for name, value in settings.items()]
        java = places.java("trino")  # Nessie asks for 21 or newer
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(java / "bin" / "java"), "-Xmx512m", *options, "-jar", str(places.nessie_jar())],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "JAVA_HOME": str(java)},
            )
        wait_until_ready(self._process, f"{self.uri}/v1/config", "overrides", self._log)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)

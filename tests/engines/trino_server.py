"""A Trino server of the tests' own, with catalogs made by SQL while it runs.

A catalog's properties are those of a file in Trino's `etc/catalog`, `connector.name` apart.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trino.dbapi import connect
from trino.exceptions import Error as TrinoError

from tests.engines import places
from tests.engines.ready import free_port, wait_until_ready
from tests.engines.results import Result

_JVM = """\
-server
-Xmx2G
-XX:+UseG1GC
-XX:+ExitOnOutOfMemoryError
-Djdk.attach.allowAttachSelf=true
--enable-native-access=ALL-UNNAMED
-Duser.timezone=UTC
"""
_CONFIG = """\
coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={port}
discovery.uri=http://127.0.0.1:{port}
catalog.management=dynamic
catalog.store=memory
query.max-memory=1GB
"""
_numbers = itertools.count(1)


class TrinoServer:
    """One server below `folder`; its log is `folder/log`. `catalog` gives something to query."""

    version = places.pinned("trino")

    def __init__(self, folder: Path) -> None:
        home = places.trino_home()
        self.port = free_port()
        etc = folder / "etc"
        etc.mkdir(parents=True)
        (etc / "node.properties").write_text(f"node.environment=test\nnode.id=test\nnode.data-dir={folder / 'data'}\n")
        (etc / "jvm.config").write_text(_JVM)
        (etc / "config.properties").write_text(_CONFIG.format(port=self.port))
        (etc / "log.properties").write_text("io.trino=WARN\n")
        java = places.java("trino")
        environment = {**os.environ, "JAVA_HOME": str(java), "PATH": f"{java / 'bin'}:{os.environ['PATH']}"}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(home / "bin" / "launcher"), "--etc-dir", str(etc), "run"], env=environment, stdout=log, stderr=log
            )

    def _wait(self) -> None:
        wait_until_ready(self._process, f"http://127.0.0.1:{self.port}/v1/info", '"starting":false', self._log)

    def catalog(self, properties: Mapping[str, str], *, namespace: str = "rover") -> Trino:
        """A new catalog of the Iceberg connector. Its properties hold no quote."""
        self._wait()
        name = f"lake{next(_numbers)}"
        listed = ", ".join(f"\"{key}\" = '{value}'" for key, value in properties.items())
        Trino(self.port, "system", "runtime").query(f"CREATE CATALOG {name} USING iceberg WITH ({listed})")
        return Trino(self.port, name, namespace)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=60)


class Trino:
    """A catalog and a schema of a server."""

    name = "Trino"
    version = TrinoServer.version

    def __init__(self, port: int, catalog: str, schema: str) -> None:
        self.catalog, self.schema, self.host = catalog, schema, f"127.0.0.1:{port}"
        self._connection = connect(  # type: ignore[no-untyped-call]
            host="127.0.0.1", port=port, user="test", catalog=catalog, schema=schema, timezone="UTC"
        )

    def ask(self, sql: str) -> Result:
        """Column names, the types as Trino names them, and rows. Raises `trino.exceptions.Error`."""
        cursor = self._connection.cursor()
        cursor.execute(sql)
        rows = [tuple(row) for row in cursor.fetchall()]
        described = cursor.description or []
        return Result([column.name for column in described], [column.type_code for column in described], rows)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return self.ask(sql).rows

    def drop(self) -> None:
        self.query(f"DROP CATALOG {self.catalog}")


def sqlite_catalog(warehouse: Path, name: str = "rover") -> dict[str, str]:
    """Trino's properties for the embedded catalog."""
    return {
        "iceberg.catalog.type": "jdbc",
        "iceberg.jdbc-catalog.catalog-name": name,
        "iceberg.jdbc-catalog.driver-class": "org.sqlite.JDBC",
        "iceberg.jdbc-catalog.connection-url": f"jdbc:sqlite:{warehouse}/catalog.db",
        "iceberg.jdbc-catalog.default-warehouse-dir": f"file://{warehouse}",
        "fs.hadoop.enabled": "true",
        # Old snapshots may be dropped at once: the default keeps seven days.
        "iceberg.expire-snapshots.min-retention": "0s",
    }


__all__ = ["Trino", "TrinoError", "TrinoServer", "sqlite_catalog"]

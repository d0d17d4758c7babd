"""A small catalog that speaks Iceberg's REST protocol, for DuckDB, which writes tables through no other.

    python scripts/peers/rest_catalog.py LAKE all|current lean|ours

PyIceberg's catalog on a SQLite file does the work: it checks each commit's requirements, applies its updates and writes
the metadata file. The tables are made before the server starts. It prints its port in one line, and ends with its
standard input.
"""

from __future__ import annotations

import json
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import CommitTableRequest, Table

from peer_tables import NAMESPACE, all_tables, create, current_tables, open_catalog


class Catalog:
    """What the requests ask for. One at a time: SQLite has one writer."""

    def __init__(self, tables: SqlCatalog) -> None:
        self._tables = tables
        self._lock = threading.Lock()

    def answer(self, method: str, path: list[str], body: Any) -> tuple[int, Any]:
        """The status and the JSON of a request. `path` is without the version of the protocol."""
        with self._lock:
            match method, path:
                case "GET", ["config"]:
                    return 200, {"defaults": {}, "overrides": {}}
                case "GET", ["namespaces"]:
                    return 200, {"namespaces": [[NAMESPACE]]}
                case "GET" | "HEAD", ["namespaces", name]:
                    return 200, {"namespace": [name], "properties": {}}
                case "GET", ["namespaces", name, "tables"]:
                    listed = self._tables.list_tables(name)
                    return 200, {"identifiers": [{"namespace": [name], "name": each[-1]} for each in listed]}
                case "GET" | "HEAD", ["namespaces", namespace, "tables", name]:
                    return 200, _loaded(self._tables.load_table((namespace, name)))
                case "POST", ["namespaces", namespace, "tables", name]:
                    self._commit(namespace, name, body)
                    return 200, _loaded(self._tables.load_table((namespace, name)))
                case "POST", ["transactions", "commit"]:
                    for change in body["table-changes"]:
                        identifier = change["identifier"]
                        self._commit(identifier["namespace"][0], identifier["name"], change)
                    return 204, None
        return 404, _error(404, "NoSuchEndpoint", f"{method} {'/'.join(path)}")

    def _commit(self, namespace: str, name: str, body: Any) -> None:
        table = self._tables.load_table((namespace, name))
        identifier = {"namespace": [namespace], "name": name}
        request = CommitTableRequest.model_validate({**body, "identifier": identifier})
        self._tables.commit_table(table, tuple(request.requirements), tuple(request.updates))


def respond(catalog: Catalog, method: str, path: list[str], body: Any) -> tuple[int, Any]:
    """The answer to a request, also where it fails."""
    try:
        return catalog.answer(method, path, body)
    except NoSuchTableError as error:
        return 404, _error(404, "NoSuchTableException", str(error))
    except CommitFailedException as error:
        return 409, _error(409, "CommitFailedException", str(error))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    catalog: Catalog

    def _respond(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = self.path.partition("?")[0].strip("/").split("/")[1:]
        status, answer = respond(self.catalog, self.command, path, body)
        data = b"" if answer is None or self.command == "HEAD" else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_HEAD = do_DELETE = _respond  # noqa: N815  the names that the library calls

    def log_message(self, *_: object) -> None:
        """Nothing: the server's output is its port."""


def _loaded(table: Table) -> dict[str, Any]:
    metadata = json.loads(table.metadata.model_dump_json())
    return {"metadata-location": table.metadata_location, "metadata": metadata, "config": {}}


def _error(status: int, kind: str, message: str) -> dict[str, Any]:
    return {"error": {"code": status, "type": kind, "message": message, "stack": [uuid.uuid4().hex]}}


def main(lake: str, which: str, layout: str) -> None:
    catalog = open_catalog(Path(lake))
    create(catalog, all_tables() if which == "all" else current_tables(), our_layout=layout == "ours")
    Handler.catalog = Catalog(catalog)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

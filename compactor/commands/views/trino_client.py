"""Creates views in a Trino server, with Trino's own Python client (the extra `trino`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from compactor.errors import CompactorError, UsageError
from compactor.reports.views import View

_FORM = "http://user@host:port/catalog, or https"


def connect(server: str) -> Callable[[View], None]:
    """Returns the function that creates a view in the server.

    The password comes from TRINO_PASSWORD, and is sent over https only.

    Args:
        server: http(s)://user@host:port/catalog.

    Raises:
        UsageError: `server` has another form, or the client is not installed.
    """
    try:
        from trino.auth import BasicAuthentication
        from trino.dbapi import connect as open_connection
        from trino.exceptions import Error, TrinoQueryError
    except ImportError as error:
        raise UsageError("Trino's client is not installed; run: pip install '.[trino]'") from error
    url = urlsplit(server)
    catalog = unquote(url.path).strip("/")
    if url.scheme not in ("http", "https") or not url.hostname or not url.username or not catalog or url.password:
        raise UsageError(f"--server should be {_FORM}; a password comes from TRINO_PASSWORD")
    password = os.environ.get("TRINO_PASSWORD") if url.scheme == "https" else None
    connection = open_connection(  # type: ignore[no-untyped-call]
        host=url.hostname,
        port=url.port or (443 if url.scheme == "https" else 8080),
        user=unquote(url.username),
        catalog=catalog,
        http_scheme=url.scheme,
        auth=BasicAuthentication(unquote(url.username), password) if password else None,
    )

    def create(view: View) -> None:
        try:
            cursor = connection.cursor()
            cursor.execute(view.create)
            cursor.fetchall()
        except TrinoQueryError as error:
            raise CompactorError(
                f"view '{view.name}': Trino refused it: {error.message}; correct that, then run again"
            ) from error
        except (Error, OSError) as error:
            raise CompactorError(
                f"Trino cannot be reached at {url.hostname}:{url.port} ({type(error).__name__}); check --server"
            ) from error

    return create

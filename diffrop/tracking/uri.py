"""Tracking URIs: which are allowed, and what shows their studies; mlflow is not imported."""

import importlib.util
import math
import os
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy

from diffrop.extras import install_command
from diffrop.redaction import redact
from diffrop.schema import require
from diffrop.sqlite_file import database_file, mlflow_url

ALLOWED_URIS = "sqlite:////absolute/path.db, http(s)://host:port or postgresql://user@host/name"
SQLITE_START = b"SQLite format 3\0"


def ui_command(tracking_uri: str) -> str:
    """Return what shows what was tracked: a shell command, or a server's address to open.

    Neither has credentials.
    """
    uri = redact(tracking_uri)
    if uri.startswith(("http://", "https://")):
        return uri
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --host 127.0.0.1"


def checked_uri(uri: str, timeout_s: float = 5.0) -> str:
    """Return the URI that MLflow is given; nothing is opened.

    Raises:
        ValueError: it is none of `ALLOWED_URIS`, or the driver of its database is missing.
    """
    url, scheme = None, uri.partition(":")[0]
    try:
        if scheme in ("http", "https"):
            parts = urlsplit(uri)
            allowed = bool(parts.hostname) and parts.port != 0  # raises if it is no number
        else:
            url = sqlalchemy.make_url(uri)
            path = Path(url.database or "")
            is_file = backend(url) == "sqlite" and path.is_absolute() and not path.is_dir()
            allowed = is_file or (scheme.startswith("postgresql") and bool(url.database))
    except (ValueError, OSError, sqlalchemy.exc.ArgumentError):
        allowed = False
    # Outside of the except block, so that no traceback shows the URI with its password.
    require(allowed, "tracking_uri", redact(uri), ALLOWED_URIS)
    if url is None:
        return uri
    if backend(url) == "sqlite":
        return mlflow_url(Path(url.database or ""))
    return _postgresql_uri(url, timeout_s)


def backend(url: sqlalchemy.URL) -> str:
    """Return which kind of database a URL names, without the driver."""
    return url.drivername.partition("+")[0]


def check_database_file(uri: str) -> None:
    """Refuse a file that is no SQLite database, or cannot be written; nothing is touched.

    Args:
        uri: as `checked_uri` returns it; those of servers are passed over.

    Raises:
        ValueError: it is such a file.
    """
    if not uri.startswith("sqlite"):
        return
    path = database_file(uri)
    allowed = "an SQLite database, or a new file, that can be written"
    start = b""
    try:
        if path.exists():
            with path.open("rb+") as file:
                start = file.read(len(SQLITE_START))
        else:
            folder = next(parent for parent in path.parents if parent.exists())
            require(folder.is_dir(), "tracking_uri", uri, f"{allowed}; {folder} is no folder")
            writable = os.access(folder, os.W_OK | os.X_OK)
            require(writable, "tracking_uri", uri, f"{allowed}; {folder} cannot be written")
    except OSError as error:
        raise ValueError(f"tracking_uri is {uri!r}; allowed: {allowed} ({error})") from None
    require(start in (b"", SQLITE_START), "tracking_uri", uri, allowed)


def _postgresql_uri(url: sqlalchemy.URL, timeout_s: float) -> str:
    """Return the URI with an installed driver, and with deadlines for silent or lost hosts."""
    drivers = [name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)]
    if url.drivername == "postgresql" and drivers:
        url = url.set(drivername=f"postgresql+{drivers[0]}")
    installed = url.drivername.partition("+")[2] in drivers
    hint = f"one whose driver is installed ({install_command('postgresql')})"
    require(installed, "tracking_uri", redact(str(url)), hint)
    connect_timeout = str(max(2, math.ceil(timeout_s)))  # libpq takes 1 for 2
    keepalives = {"keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "2"}
    query = {"connect_timeout": connect_timeout} | keepalives | dict(url.query)
    return url.set(query=query).render_as_string(hide_password=False)

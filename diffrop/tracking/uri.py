"""From a tracking URI to an MLflow client; and no text with its credentials."""

import importlib.util
import math
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from diffrop.redaction import redact
from diffrop.schema import require
from diffrop.tracking.mlflow_private import upgrade_database

ALLOWED_URIS = "sqlite:////absolute/path.db, http(s)://host:port or postgresql://user@host/name"


def ui_command(tracking_uri: str) -> str:
    """Return the shell command that shows what was tracked, without credentials."""
    uri = shlex.quote(redact(tracking_uri))
    if tracking_uri.startswith(("http://", "https://")):
        return f"open {uri}"
    return f"mlflow ui --backend-store-uri {uri} --host 127.0.0.1"


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
            is_file = scheme == "sqlite" and path.is_absolute() and not path.is_dir()
            allowed = is_file or (scheme.startswith("postgresql") and bool(url.database))
    except (ValueError, sqlalchemy.exc.ArgumentError):
        allowed = False
    # Outside of the except block, so that no traceback shows the URI with its password.
    require(allowed, "tracking_uri", redact(uri), ALLOWED_URIS)
    return uri if url is None or scheme == "sqlite" else _postgresql_uri(url, timeout_s)


def _postgresql_uri(url: sqlalchemy.URL, timeout_s: float) -> str:
    """Return the URI with an installed driver, and with deadlines for silent or lost hosts."""
    drivers = [name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)]
    if url.drivername == "postgresql" and drivers:
        url = url.set(drivername=f"postgresql+{drivers[0]}")
    installed = url.drivername.partition("+")[2] in drivers
    hint = "one whose driver is installed (pip install 'diffrop-studies[postgresql]')"
    require(installed, "tracking_uri", redact(str(url)), hint)
    connect_timeout = str(max(2, math.ceil(timeout_s)))  # libpq takes 1 for 2
    keepalives = {"keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "2"}
    query = {"connect_timeout": connect_timeout} | keepalives | dict(url.query)
    return url.set(query=query).render_as_string(hide_password=False)


def prepare_sqlite(uri: str) -> None:
    """Create or upgrade the database; leave it for later while another process locks it.

    Raises:
        ValueError: the file is no SQLite database, not writable, or of a newer MLflow.
    """
    path = Path(sqlalchemy.make_url(uri).database or "")
    allowed = "an SQLite database, or a new file, that can be written"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            start = file.read(16)
    except OSError as error:
        raise ValueError(f"tracking_uri is {uri!r}; allowed: {allowed} ({error})") from None
    require(start in (b"", b"SQLite format 3\0"), "tracking_uri", uri, allowed)
    try:
        try:
            MlflowClient(uri)
        except MlflowException as error:
            if "out-of-date" not in str(error):
                raise
            upgrade_database(uri)
    except Exception as error:  # MLflow's, Alembic's or SQLAlchemy's, as the damage may be
        if "locked" not in str(error):
            message = f"tracking_uri is {uri!r}; MLflow cannot open it: {error}"
            raise ValueError(message) from error


def open_client(uri: str) -> MlflowClient:
    """Return a client; raises at once where a PostgreSQL server is dead.

    MLflow itself would try ten times, for 100 s and without a way to change that.
    """
    if uri.startswith("postgresql"):
        sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool).connect().close()
    return MlflowClient(uri)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Bound each request of the body; no retries (the next sync is one), URLs or telemetry."""
    values = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(seconds)),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value

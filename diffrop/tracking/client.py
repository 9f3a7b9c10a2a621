"""MLflow clients: opened at once or not at all, and with every request bounded in time."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from diffrop.file_rights import create_private
from diffrop.schema import require
from diffrop.tracking.mlflow_private import upgrade_database

PAGE = 100
"""Runs that one request asks for."""


def prepare_sqlite(uri: str) -> None:
    """Create or upgrade the database; leave it for later while another process locks it.

    Raises:
        ValueError: the file is no SQLite database, not writable, or of a newer MLflow.
    """
    path = Path(sqlalchemy.make_url(uri).database or "")
    allowed = "an SQLite database, or a new file, that can be written"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        create_private(path)
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


def all_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    """Yield all runs of an experiment, oldest first."""
    ids, order, token = [experiment_id], ["attributes.start_time ASC"], None
    while True:
        page = client.search_runs(ids, max_results=PAGE, order_by=order, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Bound each request of the body; no retries (the next sync is one), URLs or telemetry."""
    values = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(math.ceil(seconds)),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
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

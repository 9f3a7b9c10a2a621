"""MLflow clients: opened at once or not at all, and with every request bounded in time."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run

from diffrop.record.creation_lock import creation_lock
from diffrop.sqlite_file import database_file
from diffrop.tracking.sqlite_database import prepare_sqlite

PAGE = 100
"""Runs that one request asks for."""
CREATION_WAIT_S = 60.0
"""While another process makes or upgrades the database, which takes it some seconds."""


def open_client(uri: str, prepare: bool = True) -> MlflowClient:
    """Return a client, with the tables of its database made or upgraded first if asked to.

    A PostgreSQL server that is dead raises at once: MLflow itself would try ten times, for 100 s
    and without a way to change that.

    Raises:
        TimeoutError: another process makes or upgrades the database.
        TrackingError: MLflow cannot use the database, whoever asks and however often.
    """
    is_file = uri.startswith("sqlite")
    if uri.startswith("http") or (is_file and not prepare):
        return MlflowClient(uri)
    if is_file:
        database_file(uri).parent.mkdir(parents=True, exist_ok=True)
    with creation_lock(uri, CREATION_WAIT_S):
        if is_file:
            prepare_sqlite(uri)
        return MlflowClient(uri)  # the first one makes MLflow's own experiment


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

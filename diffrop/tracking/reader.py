"""The reads: the trials of a study from MLflow, as the tracker wrote them."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from diffrop.redaction import redact
from diffrop.tracking.files import STATUSES
from diffrop.tracking.uri import bounded, checked_uri, open_client

STATES = {status: state for state, status in STATUSES.items()}
PAGE = 100


@dataclass(frozen=True, kw_only=True)
class StoredTrial:
    """A trial's run in MLflow."""

    number: int
    name: str
    state: str
    """RUNNING, COMPLETE, PRUNED or FAIL."""
    params: dict[str, str]
    tags: dict[str, str]
    history: list[tuple[str, int, float]]
    """Every logged metric: key, step and value, in the order of steps."""
    duration_s: float | None


@dataclass(frozen=True)
class StoredStudy:
    """A study's runs in MLflow."""

    trials: list[StoredTrial]
    """By number."""
    tags: dict[str, str]
    """Of its newest launch."""


def read_study(uri: str, study: str, timeout_s: float = 30.0) -> StoredStudy:
    """Read a study, the experiment of that name.

    Args:
        uri: see `diffrop.tracking.uri.ALLOWED_URIS`.
        study: name of the experiment.
        timeout_s: longest wait for each answer.

    Raises:
        ValueError: the URI is not allowed or does not answer, or there is no such study.
    """
    store = checked_uri(uri, timeout_s)
    if store.startswith("sqlite"):
        path = Path(sqlalchemy.make_url(store).database or "")
        if not path.is_file():  # MLflow would make an empty database of it
            raise ValueError(f"there is no file {path}; allowed: a database that MLflow wrote")
    try:
        with bounded(timeout_s):
            client = open_client(store)
            experiment = client.get_experiment_by_name(study)
            if experiment is None:
                known = sorted(found.name for found in client.search_experiments())
                raise ValueError(
                    f"there is no study {study!r} in MLflow at {redact(uri)}; allowed: "
                    f"{', '.join(known) or 'none, it is empty'}"
                )
            runs = _runs(client, experiment)
            of_trials = [run for run in runs if run.data.tags.get("diffrop.trial", "").isdigit()]
            trials = {trial.number: trial for trial in (_trial(client, r) for r in of_trials)}
    except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        reason = redact(" ".join(str(error).split()))[:300]
        raise ValueError(f"MLflow at {redact(uri)} cannot be read: {reason}") from error
    launches = [dict(run.data.tags) for run in runs if "diffrop.launch" in run.data.tags]
    return StoredStudy(
        [trials[number] for number in sorted(trials)], launches[-1] if launches else {}
    )


def _runs(client: MlflowClient, experiment: Experiment) -> list[Run]:
    """All runs, oldest first."""
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            max_results=PAGE,
            page_token=token,
            order_by=["attributes.start_time ASC"],
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _trial(client: MlflowClient, run: Run) -> StoredTrial:
    tags = dict(run.data.tags)
    history = [
        (key, metric.step, metric.value)
        for key in run.data.metrics
        for metric in client.get_metric_history(run.info.run_id, key)
    ]
    start, end = run.info.start_time, run.info.end_time
    return StoredTrial(
        number=int(tags["diffrop.trial"]),
        name=run.info.run_name or "",
        state=tags.get("state") or STATES.get(run.info.status, "RUNNING"),
        params=dict(run.data.params),
        tags=tags,
        history=sorted(history, key=lambda row: row[1]),
        duration_s=(end - start) / 1000 if start and end else None,
    )

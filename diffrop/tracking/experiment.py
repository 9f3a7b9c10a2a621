"""Which experiment and which runs of MLflow are a study's: by its token, never by its name.

A study has an experiment of its own, `tau-sweep`; where another study has that name already, it is
`tau-sweep@3f9a2c1b77de`, with its token. The experiment and every run have the token as the tag
`diffrop.study`, and only runs with it are gone on with.

An earlier version wrote no tokens. Its runs are a study's where they name a driver that the
study's record names too, for the name of a driver is random; they get the token then. All others
are left alone.
"""

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from diffrop.errors import TrackingError
from diffrop.study.config import check_name
from diffrop.tracking.client import all_runs
from diffrop.tracking.mlflow_private import PARENT_RUN

STUDY = "diffrop.study"
"""The tag of an experiment and of each run with the token of the study that it is of."""
LAUNCH = "diffrop.launch"
TRIAL = "diffrop.trial"
CONFIRMATION = "diffrop.confirmation"
"""The tags of the three kinds of runs."""
LAUNCHED_BY = "diffrop.driver"
RUN_BY = "driver"
"""The tags of a launch's and of a trial's run that name the driver."""
SEPARATOR = "@"
"""Between name and token; no name holds it."""
EARLIER = "earlier"
"""In the place of a token, for the runs that an earlier version left."""
_ATTEMPTS = 3


def experiment_of(
    client: MlflowClient,
    name: str,
    token: str,
    artifact_uri: str | None = None,
    known_drivers: AbstractSet[str] = frozenset(),
) -> Experiment:
    """Return the experiment of a study, made if there is none.

    Args:
        client: of MLflow.
        name: of the study.
        token: what tells it from others of its name; see `diffrop.record.identity`.
        artifact_uri: where a new experiment keeps files; None lets the server decide.
        known_drivers: names of the drivers that the study's record names.

    Raises:
        TrackingError: the study's experiment was deleted.
    """
    for _ in range(_ATTEMPTS):  # another process may take the name between two requests
        found = client.search_experiments(ViewType.ALL, filter_string=_has_token(token))
        if found:
            return _active(found[0])
        named = client.get_experiment_by_name(name)
        if named is not None and _may_claim(client, named, known_drivers):
            client.set_experiment_tag(named.experiment_id, STUDY, token)
            continue
        free = name if named is None else f"{name}{SEPARATOR}{token}"
        try:
            client.create_experiment(free, artifact_uri, tags={STUDY: token})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    raise TrackingError(f"MLflow lets nobody make an experiment for {name!r}")


def own_runs(
    client: MlflowClient,
    experiment_id: str,
    token: str,
    known_drivers: AbstractSet[str] = frozenset(),
) -> list[Run]:
    """Return the runs of a study, oldest first; those of an earlier version get its token."""
    runs = list(all_runs(client, experiment_id))
    unmarked = [run for run in runs if STUDY not in run.data.tags]
    launches = {run.info.run_id for run in unmarked if _names(run, LAUNCHED_BY, known_drivers)}
    claimed = {
        run.info.run_id
        for run in unmarked
        if run.info.run_id in launches
        or run.data.tags.get(PARENT_RUN) in launches
        or _names(run, RUN_BY, known_drivers)
    }
    for run_id in claimed:
        client.set_tag(run_id, STUDY, token)
    return [run for run in runs if run.info.run_id in claimed or run.data.tags.get(STUDY) == token]


def split_name(study: str) -> tuple[str, str]:
    """Return the name and the token of NAME or NAME@TOKEN; the token is empty without one.

    Raises:
        ValueError: the name is none that a study can have.
    """
    name, _, token = study.partition(SEPARATOR)
    return check_name(name), token


def study_runs(client: MlflowClient, study: str, where: str) -> list[Run]:
    """Return all runs of one study, for reading; runs of two studies are never put together.

    Args:
        client: of MLflow.
        study: NAME or NAME@TOKEN.
        where: which MLflow, for the messages.

    Raises:
        ValueError: there is no such study, or there are several.
    """
    name, wanted = split_name(study)
    experiments = client.search_experiments(filter_string=f"name LIKE '{name}%'")
    named = [found for found in experiments if found.name.partition(SEPARATOR)[0] == name]
    studies: dict[str, list[Run]] = {}
    for experiment in named:
        for run in all_runs(client, experiment.experiment_id):
            if run.data.tags.keys() & {LAUNCH, TRIAL, CONFIRMATION}:
                studies.setdefault(run.data.tags.get(STUDY, EARLIER), []).append(run)
    if EARLIER in studies and len(studies) > 1 and not _has_trials(studies[EARLIER]):
        del studies[EARLIER]  # an empty launch of the study that goes on under its token
    if wanted:
        studies = {token: runs for token, runs in studies.items() if token == wanted}
    if not studies:
        known = sorted(found.name for found in client.search_experiments())
        raise ValueError(
            f"there is no study {study!r} in {where}; allowed: "
            f"{', '.join(known) or 'none, it is empty'}"
        )
    if len(studies) > 1:
        raise ValueError(
            f"{where} has {len(studies)} studies called {name!r}; allowed: "
            f"{', '.join(_described(name, studies))}"
        )
    return next(iter(studies.values()))


def _described(name: str, studies: Mapping[str, Sequence[Run]]) -> list[str]:
    """Return how each of several studies is named, the newest first."""

    def began(runs: Sequence[Run]) -> int:
        return min(run.info.start_time or 0 for run in runs)

    lines = []
    for token, runs in sorted(studies.items(), key=lambda item: -began(item[1])):
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime(began(runs) / 1000))
        num_trials = sum(TRIAL in run.data.tags for run in runs)
        lines.append(f"{name}{SEPARATOR}{token} (begun {day}, {num_trials} trials)")
    return lines


def _has_trials(runs: Sequence[Run]) -> bool:
    return any(TRIAL in run.data.tags for run in runs)


def _names(run: Run, tag: str, drivers: AbstractSet[str]) -> bool:
    return run.data.tags.get(tag, "") in drivers


def _has_token(token: str) -> str:
    return f"tags.`{STUDY}` = '{token}'"


def _active(experiment: Experiment) -> Experiment:
    if experiment.lifecycle_stage == "deleted":
        raise TrackingError(
            f"the experiment {experiment.name!r} was deleted in MLflow. To fix: restore it (mlflow"
            f" experiments restore --experiment-id {experiment.experiment_id}), or delete it for"
            " good (mlflow gc), and all is logged again"
        )
    return experiment


def _may_claim(
    client: MlflowClient, experiment: Experiment, known_drivers: AbstractSet[str]
) -> bool:
    """Whether an experiment of the study's name may be its own: empty, or of a known driver."""
    if STUDY in experiment.tags or experiment.lifecycle_stage == "deleted":
        return False
    runs = list(all_runs(client, experiment.experiment_id))
    return not runs or any(_names(run, LAUNCHED_BY, known_drivers) for run in runs)

"""Which experiment and which runs of MLflow are a study's: by its token, never by its name.

A study has an experiment of its own, `tau-sweep`; where another study has that name already, it is
`tau-sweep@3f9a2c1b77de`, with its token. The experiment and every run have the token as the tag
`STUDY`, and only runs with it are gone on with. The UI does not show this tag, nor the others by
which a run is known.

Earlier versions gave these tags names that the UI shows. They are read as today's names, and the
runs of a study that goes on get these. Still earlier ones wrote no tokens: such runs are a study's
where they name a driver that the study's record names too, for the name of a driver is random;
they get the token then. All others are left alone.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial

from mlflow import MlflowClient
from mlflow.entities import Experiment, Param, Run, RunData, RunTag, ViewType
from mlflow.exceptions import MlflowException

from diffrop.errors import TrackingError
from diffrop.study.config import check_name
from diffrop.tracking.client import all_runs
from diffrop.tracking.mlflow_private import HIDDEN, PARENT_RUN

STUDY = f"{HIDDEN}diffrop.study"
"""The tag of an experiment and of each run with the token of the study that it is of."""
LAUNCH = f"{HIDDEN}diffrop.launch"
TRIAL = f"{HIDDEN}diffrop.trial"
RETRAINING = f"{HIDDEN}diffrop.retraining"
CONFIRMED = f"{HIDDEN}diffrop.confirmed"
"""The tags of the four kinds of runs; the last is of all retrainings of a trial together."""
LAUNCHED_BY = f"{HIDDEN}diffrop.driver"
RUN_BY = f"{HIDDEN}diffrop.run_by"
"""The tags of a launch's and of a trial's run that name the driver."""
SYNCED = f"{HIDDEN}diffrop.synced"
"""The tag of a trial's run that says what of it lies there; see `TrackedTrial.mark`."""
SEED = f"{HIDDEN}diffrop.seed"
SAMPLES_SEED = f"{HIDDEN}diffrop.samples_seed"
"""The tags of a trial's run with the seeds of training and of sampling, which all trials share."""
EARLIER_STUDY = "diffrop.study"
_EARLIER_NAMES = {
    EARLIER_STUDY: STUDY,
    "diffrop.launch": LAUNCH,
    "diffrop.trial": TRIAL,
    "diffrop.confirmation": RETRAINING,
    "diffrop.driver": LAUNCHED_BY,
    "driver": RUN_BY,
    "diffrop.synced": SYNCED,
    "seed": SEED,
    "samples_seed": SAMPLES_SEED,
}
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
        if (own := _own_experiment(client, token)) is not None:
            return own
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
    """Return the runs of a study, oldest first; those of earlier versions get today's tags."""
    stored = list(all_runs(client, experiment_id))
    runs = [_with_names(run) for run in stored]
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
    own = []
    for before, run in zip(stored, runs, strict=True):
        if run.info.run_id in claimed or run.data.tags.get(STUDY) == token:
            _rename(client, before)
            own.append(run)
    return own


def _rename(client: MlflowClient, run: Run) -> None:
    """Give the tags of a run the names of this version."""
    earlier = run.data.tags.keys() & _EARLIER_NAMES.keys()
    if earlier:
        new = [RunTag(_EARLIER_NAMES[name], run.data.tags[name]) for name in sorted(earlier)]
        client.log_batch(run.info.run_id, tags=new)
    for name in earlier:
        _unless_gone(partial(client.delete_tag, run.info.run_id, name))


def _unless_gone(delete: Callable[[], object]) -> None:
    """Delete what another driver may have deleted already."""
    try:
        delete()
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise


def _with_names(run: Run) -> Run:
    """Return a run with its parameters, and its tags under the names of this version."""
    tags = {_EARLIER_NAMES.get(name, name): text for name, text in run.data.tags.items()}
    data = RunData(
        params=[Param(*item) for item in run.data.params.items()],
        tags=[RunTag(*item) for item in tags.items()],
    )
    return Run(run.info, data)


def _read_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    return map(_with_names, all_runs(client, experiment_id))


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
        for run in _read_runs(client, experiment.experiment_id):
            if run.data.tags.keys() & {LAUNCH, TRIAL, RETRAINING}:
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


def _own_experiment(client: MlflowClient, token: str) -> Experiment | None:
    """Return the experiment with a study's token, which then has the name of this version."""
    for name in (STUDY, EARLIER_STUDY):
        found = client.search_experiments(ViewType.ALL, filter_string=f"tags.`{name}` = '{token}'")
        if not found:
            continue
        own = _active(found[0])
        if name != STUDY:
            client.set_experiment_tag(own.experiment_id, STUDY, token)
            _unless_gone(partial(client.delete_experiment_tag, own.experiment_id, name))
        return own
    return None


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
    has_token = experiment.tags.keys() & {STUDY, EARLIER_STUDY}
    if has_token or experiment.lifecycle_stage == "deleted":
        return False
    runs = list(_read_runs(client, experiment.experiment_id))
    return not runs or any(_names(run, LAUNCHED_BY, known_drivers) for run in runs)

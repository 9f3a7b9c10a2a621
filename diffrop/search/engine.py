"""The study engine: Tune runs the trials, Optuna chooses them, the folder keeps everything."""

import contextlib
import json
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback

from diffrop import cluster
from diffrop.config import EvaluationConfig
from diffrop.data import Dataset, LabelledImages, load_dataset
from diffrop.errors import StudyError
from diffrop.metrics.extractors import check_extractor, make_extractor
from diffrop.metrics.features import FeatureExtractor, cached_features
from diffrop.metrics.reference import LabelledFeatures, Reference
from diffrop.search.anchors import measure_anchors
from diffrop.search.config import LaunchConfig, StudyConfig
from diffrop.search.differences import with_differences
from diffrop.search.drivers import Drivers
from diffrop.search.launch import execute
from diffrop.search.observer import StudyObserver
from diffrop.search.results import StudyResult, collect, write_results
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.scoring import ScoringInputs, check_scorable
from diffrop.search.screen import Screen
from diffrop.search.searcher import OptunaStudySearcher
from diffrop.search.sharing import num_remaining
from diffrop.search.store import StudyStore
from diffrop.search.trial import TrialTask, write_atomically
from diffrop.tracking import Tracker, checked_uri
from diffrop.training.network import check_network
from diffrop.training.trainer import check_batch_fits_workers


@dataclass(frozen=True)
class FinishedStudy:
    """What a launch leaves behind."""

    result: StudyResult
    directory: Path
    anchors: dict[str, Any]
    tracking_uri: str
    untracked: list[str]
    """One sentence for each thing that is missing in MLflow."""
    interrupted: bool


@dataclass(frozen=True)
class PreparedStudy:
    """A study that was checked, with what its trials share."""

    store: StudyStore
    inputs: ScoringInputs
    anchors: dict[str, Any]


def check_study(config: StudyConfig, launch: LaunchConfig) -> tuple[StudyStore, Dataset]:
    """Check everything that can be checked before anything is started or written.

    Raises:
        ValueError: the configuration does not fit the data or the workers.
        StudyError: the study's name or state forbids it.
        ResourceError: a local cluster is too small for one trial.
    """
    store = StudyStore(Path(launch.runs_root), config.name)
    store.check(config, launch)
    checked_uri(tracking_uri(launch))
    for experiment in (config.experiment, *config.space.corners(config.experiment)):
        check_batch_fits_workers(experiment, launch.workers_per_trial)
    check_extractor(config.experiment.evaluation.extractor)
    if launch.ray_address == "local":
        cluster.check_resources(launch, *cluster.local_resources())
    dataset = load_dataset(config.experiment.data)
    samples = [rung.num_samples for rung in config.rungs]
    check_scorable(config.experiment, dataset, samples)
    check_network(config.experiment, dataset)
    return store, dataset


def prepare(config: StudyConfig, launch: LaunchConfig) -> PreparedStudy:
    """Check a study, load its data, and make what scores its trials, before Ray starts.

    Raises:
        ValueError, StudyError, ResourceError: as `check_study`.
        ValueError: weights or packages of the extractor are missing.
    """
    store, dataset = check_study(config, launch)
    inputs, anchors = scoring_inputs(config.experiment.evaluation, dataset, store.path.parent)
    return PreparedStudy(store, inputs, anchors)


def tracking_uri(launch: LaunchConfig) -> str:
    """Return MLflow's URI: the launch's, or SQLite in the runs folder."""
    return launch.tracking_uri or f"sqlite:///{Path(launch.runs_root).resolve() / 'mlflow.db'}"


def run_study(
    config: StudyConfig,
    launch: LaunchConfig,
    prepared: PreparedStudy,
    command: str,
    screen: Screen,
    render: Callable[[Path], list[Path]],
) -> FinishedStudy:
    """Run or resume a study to its number of trials.

    Args:
        config: the study.
        launch: resources and stores of this launch.
        prepared: what `prepare` returned for both.
        command: the command line, kept in the study's folder.
        screen: what is shown while it runs.
        render: draws figures and report from the study's folder; returns the files.

    Raises:
        StudyError: the study is running elsewhere, or its database cannot be used.
        ResourceError: the cluster is out of reach or too small.
    """
    store, inputs = prepared.store, prepared.inputs
    if not launch.resume:
        store.create(config, command)
    drivers = Drivers(store.drivers)
    with drivers.join(exclusive=launch.storage is None), warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = store.open(launch)
        write_atomically(store.path / "anchors.json", json.dumps(prepared.anchors))
        launch_name = time.strftime("launch-%Y%m%d-%H%M%S")
        tracker = open_tracker(
            launch,
            experiment=config.name,
            run=launch_name,
            params={"num_trials": config.num_trials, "seed": config.seed},
            inputs=inputs,
        )
        seeds = {
            "seed": str(config.experiment.training.seed),
            "samples_seed": str(config.experiment.evaluation.seed),
        }
        observer = StudyObserver(lambda: collect(study, store, config), tracker, screen, seeds)
        _run_trials(config, launch, store, inputs, study, observer, launch_name)
        interrupted = num_remaining(study, config) > 0
        result = with_differences(observer.update())
        screen.close()
        files = [*write_results(result, store), store.config_path, *render(store.path)]
        tracker.log_study_artifacts(files)
        missing = tracker.close("KILLED" if interrupted else "FINISHED")
    return FinishedStudy(
        result, store.path, prepared.anchors, tracking_uri(launch), missing, interrupted
    )


def scoring_inputs(
    evaluation: EvaluationConfig, dataset: Dataset, runs_root: Path
) -> tuple[ScoringInputs, dict[str, Any]]:
    """Make the extractor, the reference fits and the anchors; what can be is cached.

    Raises:
        ValueError: weights or packages of the extractor are missing.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cache = runs_root / ".cache"
    extractor = make_extractor(evaluation, dataset.reference, dataset.name, cache)
    reference = fit_reference(extractor, dataset, cache, device)
    anchors = measure_anchors(dataset, extractor, reference, evaluation, device)
    extractor.network.to("cpu")  # it travels to the trials
    return ScoringInputs(dataset, extractor, reference), anchors


def fit_reference(
    extractor: FeatureExtractor, dataset: Dataset, cache: Path, device: torch.device
) -> Reference:
    """Fit the data set's reference images, and take up its training and held-out images."""

    def labelled(images: LabelledImages) -> LabelledFeatures:
        return cached_features(extractor, images, cache, device), images.labels

    return Reference.fit(
        *labelled(dataset.reference),
        dataset.shot_groups,
        name=dataset.reference_name,
        training=labelled(dataset.train),
        heldout=labelled(dataset.heldout) if dataset.heldout is not None else None,
    )


def open_tracker(
    launch: LaunchConfig, experiment: str, run: str, params: dict[str, Any], inputs: ScoringInputs
) -> Tracker:
    """Open a parent run in MLflow; StudyError if its database cannot be written."""
    try:
        return Tracker(
            tracking_uri(launch),
            artifact_root=Path(launch.runs_root).resolve() / "mlartifacts",
            experiment=experiment,
            launch=run,
            params=params,
            tags={"dataset": inputs.dataset.name, "extractor": inputs.extractor.name},
        )
    except ValueError as error:
        raise StudyError(str(error)) from error


def _run_trials(
    config: StudyConfig,
    launch: LaunchConfig,
    store: StudyStore,
    inputs: ScoringInputs,
    study: optuna.Study,
    observer: StudyObserver,
    launch_name: str,
) -> None:
    """Run what is left of a study, or until Ctrl-C.

    At the first Ctrl-C Tune stops its trials and returns; they stay unfinished in Optuna's study.
    """
    num_samples = num_remaining(study, config)
    if num_samples == 0:
        return
    with cluster.connect(launch) as (cpus, gpus):
        concurrent = cluster.concurrency(launch, config.num_trials, cpus, gpus)
        searcher = OptunaStudySearcher(study, config, concurrent)
        observer.concurrent = concurrent
        trainable = tune.with_parameters(
            _tune_trial, study=config, launch=launch, root=str(store.path), inputs=inputs
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, _tune_resources(launch)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=StudyScheduler(config, searcher),
                num_samples=num_samples,
                max_concurrent_trials=concurrent,
                reuse_actors=launch.workers_per_trial == 1,
            ),
            run_config=tune.RunConfig(
                name=launch_name,
                storage_path=str(store.path / "ray"),
                callbacks=[observer],
                failure_config=tune.FailureConfig(max_failures=launch.max_failures),
                verbose=0,
            ),
        )
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C, while Tune stops
            tuner.fit()


def _tune_resources(launch: LaunchConfig) -> tune.PlacementGroupFactory:
    """What Tune holds for a trial: all of it, or a token if Ray Train holds the workers.

    The token is a byte of memory: no resource at all is refused, and any share of a CPU would
    keep the workers from having all of them.
    """
    if launch.workers_per_trial > 1:
        return tune.PlacementGroupFactory([{"memory": 1}])
    bundle = {"CPU": float(launch.cpus_per_worker), "GPU": launch.gpus_per_worker}
    return tune.PlacementGroupFactory([{name: n for name, n in bundle.items() if n}])


def _tune_trial(
    point: dict[str, Any],
    study: StudyConfig,
    launch: LaunchConfig,
    root: str,
    inputs: ScoringInputs,
) -> None:
    """Tune's function trainable: one trial at one point of the space."""
    store = StudyStore(Path(root).parent, study.name)
    config = study.experiment.with_values(point["values"])
    task = TrialTask(store.trial_directory(point["number"]), config, study.rungs)
    grouped = launch.workers_per_trial > 1
    execute(
        task,
        inputs,
        launch,
        tune.report,
        storage_path=f"{root}/ray/train",
        run_name=f"t{point['number']:03d}-{uuid.uuid4().hex[:8]}",
        callbacks=[TuneReportCallback()] if grouped else [],
    )

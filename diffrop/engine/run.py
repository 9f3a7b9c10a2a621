"""The study engine: Tune runs the trials, Optuna chooses them, the folder keeps everything."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from diffrop.cost.budget import BudgetTracker
from diffrop.engine.drivers import Drivers, StopSignal, try_lock
from diffrop.engine.observer import StudyObserver
from diffrop.engine.prepare import PreparedStudy, fingerprints_of
from diffrop.engine.progress import Screen
from diffrop.engine.records import (
    record_actual_cost,
    record_agreement,
    record_conclusion,
    record_plan,
)
from diffrop.engine.result_files import write_results
from diffrop.engine.stages import Stages
from diffrop.engine.study_run import StudyRun
from diffrop.execution import cluster
from diffrop.execution.placement import check_placement
from diffrop.execution.tasks import open_store
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.results import ResultReader, StudyResult
from diffrop.record.study_folder import StudyFolder
from diffrop.scoring.paired_differences import with_differences
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.warm_start import remember, write_notes
from diffrop.storage import RemoteMirror, write_atomically
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.tracking.launch import open_tracker, tracking_uri
from diffrop.tracking.tracker import Tracker
from diffrop.tracking.views import saved_views
from diffrop.training.garbage import collect_garbage
from diffrop.training.stop import withdraw_stop
from diffrop.training.store import CheckpointStore


@dataclass(frozen=True)
class FinishedStudy:
    """What a launch leaves behind."""

    result: StudyResult
    directory: Path
    reference_scores: dict[str, Any]
    """Of pure noise and of real images."""
    tracking_uri: str
    untracked: list[str]
    """One sentence for each thing that is missing in MLflow."""
    interrupted: bool
    """Whether it was asked to stop."""
    refusal: str
    """Why the budget let no further trial or retraining begin; empty if it did."""


def run_study(
    config: StudyConfig,
    launch: LaunchConfig,
    prepared: PreparedStudy,
    command: str,
    screen: Screen,
    render: Callable[[Path], list[Path]],
) -> FinishedStudy:
    """Run or resume a study to its number of trials, and confirm its leaders if asked to.

    Args:
        config: the study.
        launch: resources, stores and budget of this launch.
        prepared: what `prepare` returned for both.
        command: the command line, kept in the study's folder.
        screen: what is shown while it runs.
        render: draws figures and report from the study's folder; returns the files.

    Raises:
        StudyError: the study is running elsewhere, its database cannot be used, or it was started
            with another configuration, other images or another extractor.
        ResourceError: the cluster is out of reach or too small.
    """
    store, fingerprints = prepared.store, fingerprints_of(prepared.inputs)
    folder = store.folder
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = None if launch.resume else store.create(config, command, launch, fingerprints)
    checkpoints = open_store(launch, folder.path.parent)
    drivers = Drivers(folder.drivers)
    stop = StopSignal(folder.path, drivers.own, checkpoints.mirror)
    with drivers.join(exclusive=launch.storage is None), warnings.catch_warnings():
        if not drivers.others():
            withdraw_stop(folder.path, checkpoints.mirror)  # of earlier launches
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study is None:
            study = store.resume(config, command, launch, fingerprints)
        else:
            remember(study, prepared.warm_start)
            write_notes(folder, prepared.warm_start)
        write_atomically(folder.reference_scores, json.dumps(prepared.reference_scores))
        if checkpoints.mirror is not None:  # a driver may be lost with its disk
            push_results(folder.path, checkpoints.mirror)
        tracker = _study_tracker(config, launch, prepared.inputs, drivers)
        tracker.log_study(folder)
        run = _study_run(
            config,
            launch,
            folder,
            prepared.inputs,
            study,
            checkpoints,
            tracker,
            screen,
            drivers,
            stop,
        )
        _run_stages(run)
        result, refusal = _conclude(run)
        screen.close()
        write_results(result, folder)
        run.observer.sync_confirmation(folder, result)
        tracker.log_study(folder)
        tracker.log_study_artifacts(render(folder.path))
        if checkpoints.mirror is not None:
            push_results(folder.path, checkpoints.mirror)
        missing = tracker.close("KILLED" if stop.requested else "FINISHED")
        if drivers.leave():  # what another runs, a confirmation above all, needs its weights
            withdraw_stop(folder.path, checkpoints.mirror)
            if launch.keep_trials is not None and not stop.requested:
                remove_unneeded_weights(run)
    uri = tracking_uri(launch)
    return FinishedStudy(
        result, folder.path, prepared.reference_scores, uri, missing, stop.requested, refusal
    )


def _study_run(
    config: StudyConfig,
    launch: LaunchConfig,
    folder: StudyFolder,
    inputs: ScoringInputs,
    study: optuna.Study,
    checkpoints: CheckpointStore,
    tracker: Tracker,
    screen: Screen,
    drivers: Drivers,
    stop: StopSignal,
) -> StudyRun:
    """Put together what the stages share."""
    reader = ResultReader(study, folder, config, checkpoints.pull_trial)
    return StudyRun(
        config=config,
        launch=launch,
        folder=folder,
        inputs=inputs,
        study=study,
        checkpoints=checkpoints,
        reader=reader,
        observer=StudyObserver(
            reader.read,
            reader.account,
            tracker,
            screen,
            _seeds(config),
            drivers.own,
            drivers.alive,
        ),
        screen=screen,
        drivers=drivers,
        stop=stop,
        budget=BudgetTracker(launch, reader),
    )


def _study_tracker(
    config: StudyConfig, launch: LaunchConfig, inputs: ScoringInputs, drivers: Drivers
) -> Tracker:
    """Open this launch's run in MLflow."""
    return open_tracker(
        launch,
        experiment=config.name,
        run=time.strftime("launch-%Y%m%d-%H%M%S"),
        params={"num_trials": config.num_trials, "seed": config.seed},
        inputs=inputs,
        views=saved_views(
            config.experiment.evaluation.objectives,
            [parameter.name for parameter in config.space.parameters],
        ),
        driver=drivers.own,
        alive=None if launch.storage is None else drivers.alive,
    )


def _conclude(run: StudyRun) -> tuple[StudyResult, str]:
    """Return what is known at a launch's end, and why the budget let no more begin, if it did."""
    record_agreement(run.folder, run.study, run.config)
    result = with_differences(run.observer.update())
    left = run.num_remaining
    if run.launch.confirm:
        confirmed = read_record(run.folder.confirmation, ConfirmationRecord)
        left += confirmed.num_left if confirmed else 0
    refusal = run.budget.refusal() if left else ""
    confirmation = record_conclusion(run.folder, run.study, result, refusal)
    return replace(result, confirmation=confirmation), refusal


def _run_stages(run: StudyRun) -> None:
    """Run what is left of a study on a cluster, or until Ctrl-C, SIGTERM or the budget's end."""
    remaining = run.num_remaining  # also what another driver runs, or left behind
    if not remaining and not run.launch.confirm:
        return
    with cluster.connect(run.launch), run.stop.watched():
        nodes = cluster.nodes()
        check_placement(nodes, run.launch)
        run.concurrent = cluster.concurrency(run.launch, run.config.num_trials, nodes)
        run.observer.concurrent = run.concurrent
        began = time.monotonic()
        record_plan(run.folder, run.study, run.config, run.launch, run.inputs, nodes)
        stages = Stages(run)
        if remaining:
            stages.search()
        if run.launch.confirm:
            with try_lock(run.folder.confirmation_lock) as held:
                if held:
                    stages.confirm(run.observer.update())
                else:
                    run.screen.say("Another driver confirms.")
        wall_s = time.monotonic() - began
        record_actual_cost(run.folder, run.study, run.config, run.launch, wall_s)


def push_results(directory: Path, mirror: RemoteMirror) -> None:
    """Copy what the driver wrote of a study to a remote storage, beside its trials.

    Requests to stop are not results: whoever makes one there takes it away.

    Raises:
        StorageError: it is out of reach or refuses.
    """
    for path in sorted(directory.iterdir()):
        if (path.is_file() and not path.match("stop*")) or path.name == "figures":
            mirror.push(path)


def remove_unneeded_weights(run: StudyRun) -> None:
    """Remove the weights of a study's trainings that nobody is to have again.

    Kept are those of the baseline, of the leaders that the launch asks for, of the confirmed best,
    of unfinished trials, and whatever another study pins or a kept training forks from.
    """
    confirmation = read_record(run.folder.confirmation, ConfirmationRecord)
    result = replace(run.reader.read(), confirmation=confirmation)
    kept = [trial for trial in result.ranked if trial.number > 0][: run.launch.keep_trials]
    kept += [trial for trial in result.trials if trial.number == 0 or trial.state == "RUNNING"]
    kept += [result.best] if result.best is not None else []
    keys = [trial.training_key for trial in kept]
    collect_garbage(run.checkpoints, run.config.name, keys)


def _seeds(config: StudyConfig) -> dict[str, str]:
    experiment = config.experiment
    return {
        "seed": str(experiment.training.seed),
        "samples_seed": str(experiment.evaluation.seed),
    }

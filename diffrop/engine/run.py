"""The study engine: Tune runs the trials, Optuna chooses them, the folder keeps everything."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from diffrop.cost.budget_tracker import BudgetTracker
from diffrop.engine.drivers import Drivers, StopSignal, try_lock
from diffrop.engine.observer import StudyObserver
from diffrop.engine.prepare import PreparedStudy, facts_of
from diffrop.engine.progress import Screen
from diffrop.engine.records import close_confirmation, close_plan, open_plan, write_fidelity
from diffrop.engine.result_files import write_results
from diffrop.engine.stages import Stages
from diffrop.execution import cluster
from diffrop.execution.placement import check_placement
from diffrop.execution.tasks import open_store
from diffrop.record.results import ResultReader, StudyResult
from diffrop.record.study_files import CONFIRM_LOCK, CONFIRMATION, read_record
from diffrop.record.study_store import StudyStore
from diffrop.scoring.paired_differences import with_differences
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.ownership import num_remaining
from diffrop.search.warm_start import remember, write_notes
from diffrop.storage import RemoteMirror, write_atomically
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.tracking import Tracker, saved_views
from diffrop.tracking.launch import open_tracker, tracking_uri
from diffrop.training.garbage import collect_garbage
from diffrop.training.stop import withdraw_stop


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
    store, facts = prepared.store, facts_of(prepared.inputs)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = None if launch.resume else store.create(config, command, launch, facts)
    checkpoints = open_store(launch, store.path.parent)
    drivers = Drivers(store.drivers)
    stop = StopSignal(store.path, drivers.own, checkpoints.mirror)
    with drivers.join(exclusive=launch.storage is None), warnings.catch_warnings():
        if not drivers.others():
            withdraw_stop(store.path, checkpoints.mirror)  # of earlier launches
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if study is None:
            study = store.resume(config, command, launch, facts)
        else:
            remember(study, prepared.warm_start)
            write_notes(store.path, prepared.warm_start)
        write_atomically(store.path / "anchors.json", json.dumps(prepared.anchors))
        if checkpoints.mirror is not None:  # a driver may be lost with its disk
            push_results(store.path, checkpoints.mirror)
        tracker = _study_tracker(config, launch, prepared.inputs, drivers)
        reader = ResultReader(study, store, config, checkpoints)
        purse = BudgetTracker(config, launch, store, reader)
        observer = StudyObserver(
            reader.read, tracker, screen, _seeds(config), drivers.own, drivers.alive
        )
        _run_stages(config, launch, prepared, study, purse, observer, screen, drivers, stop)
        result, refusal = _conclusion(config, launch, store, study, observer, purse)
        screen.close()
        write_results(result, store)
        observer.sync_confirmation(store.path, result)
        tracker.log_study(store.path)
        tracker.log_study_artifacts(render(store.path))
        if checkpoints.mirror is not None:
            push_results(store.path, checkpoints.mirror)
        missing = tracker.close("KILLED" if stop.given else "FINISHED")
        if drivers.leave():  # what another runs, a confirmation above all, needs its weights
            withdraw_stop(store.path, checkpoints.mirror)
            if launch.keep_trials is not None and not stop.given:
                confirmation = read_record(store.path, CONFIRMATION)
                remove_unneeded_weights(
                    replace(reader.read(), confirmation=confirmation), launch, store
                )
    uri = tracking_uri(launch)
    return FinishedStudy(result, store.path, prepared.anchors, uri, missing, stop.given, refusal)


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


def _conclusion(
    config: StudyConfig,
    launch: LaunchConfig,
    store: StudyStore,
    study: optuna.Study,
    observer: StudyObserver,
    purse: BudgetTracker,
) -> tuple[StudyResult, str]:
    """Return what is known at a launch's end, and why the budget let no more begin, if it did."""
    write_fidelity(store.path, study, config)
    result = with_differences(observer.update())
    left = num_remaining(study, config)
    if launch.confirm:
        left += read_record(store.path, CONFIRMATION).get("num_left", 0)
    refusal = purse.refusal() if left else ""
    confirmation = close_confirmation(store.path, study, result, refusal)
    return replace(result, confirmation=confirmation), refusal


def _run_stages(
    config: StudyConfig,
    launch: LaunchConfig,
    prepared: PreparedStudy,
    study: optuna.Study,
    purse: BudgetTracker,
    observer: StudyObserver,
    screen: Screen,
    drivers: Drivers,
    stop: StopSignal,
) -> None:
    """Run what is left of a study on a cluster, or until Ctrl-C, SIGTERM or the budget's end."""
    remaining = num_remaining(study, config)  # also what another driver runs, or left behind
    if not remaining and not launch.confirm:
        return
    with cluster.connect(launch), stop.watched():
        nodes = cluster.nodes()
        check_placement(nodes, launch)
        concurrent = cluster.concurrency(launch, config.num_trials, nodes)
        observer.concurrent = concurrent
        began = time.monotonic()
        open_plan(prepared.store.path, study, config, launch, prepared.inputs, nodes)
        stages = Stages(
            config=config,
            launch=launch,
            store=prepared.store,
            inputs=prepared.inputs,
            study=study,
            observer=observer,
            screen=screen,
            drivers=drivers,
            stop=stop,
            affordable=lambda: not purse.refusal(),
            concurrent=concurrent,
        )
        if remaining:
            stages.search()
        if launch.confirm:
            with try_lock(prepared.store.path / CONFIRM_LOCK) as held:
                if held:
                    stages.confirm(observer.update())
                else:
                    screen.say("Another driver confirms.")
        close_plan(prepared.store.path, study, config, launch, time.monotonic() - began)


def push_results(directory: Path, mirror: RemoteMirror) -> None:
    """Copy what the driver wrote of a study to a remote storage, beside its trials.

    Requests to stop are not results: whoever makes one there takes it away.

    Raises:
        StorageError: it is out of reach or refuses.
    """
    for path in sorted(directory.iterdir()):
        if (path.is_file() and not path.match("stop*")) or path.name == "figures":
            mirror.push(path)


def remove_unneeded_weights(result: StudyResult, launch: LaunchConfig, store: StudyStore) -> None:
    """Remove the weights of a study's trainings that nobody is to have again.

    Kept are those of the baseline, of the leaders that the launch asks for, of the confirmed best,
    of unfinished trials, and whatever another study pins or a kept training forks from.
    """
    kept = [trial for trial in result.ranked if trial.number > 0][: launch.keep_trials]
    kept += [trial for trial in result.trials if trial.number == 0 or trial.state == "RUNNING"]
    kept += [result.best] if result.best is not None else []
    checkpoints = open_store(launch, store.path.parent)
    collect_garbage(checkpoints, store.name, [trial.training_key for trial in kept])


def _seeds(config: StudyConfig) -> dict[str, str]:
    experiment = config.experiment
    return {
        "seed": str(experiment.training.seed),
        "samples_seed": str(experiment.evaluation.seed),
    }

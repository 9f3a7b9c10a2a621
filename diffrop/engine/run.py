"""The study engine: Tune runs the trials, Optuna chooses them, the folder keeps everything."""

import contextlib
import shlex
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna

from diffrop.cost.budget import BudgetTracker
from diffrop.edge import described
from diffrop.engine.prepare import PreparedStudy, fingerprints_of
from diffrop.engine.progress import Render, Screen, progress_of
from diffrop.engine.records import (
    record_actual_cost,
    record_agreement,
    record_conclusion,
    record_plan,
)
from diffrop.engine.repair import set_damaged_files_aside
from diffrop.engine.result_files import write_results
from diffrop.engine.stages import Stages
from diffrop.engine.study_run import StudyRun
from diffrop.errors import OutageError
from diffrop.execution import cluster
from diffrop.execution.placement import check_placement
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record, write_json
from diffrop.record.launch_log import add_to_log
from diffrop.record.results import StudyResult
from diffrop.scoring.paired_differences import with_differences
from diffrop.search.warm_start import remember, write_notes
from diffrop.signals import time_limit
from diffrop.storage import RemoteMirror, try_lock
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.tracking.launch import tracking_uri
from diffrop.training.garbage import collect_garbage
from diffrop.training.stop import withdraw_stop

DRAW_STOPPED_S = 5.0
"""Seconds that a launch draws at most once it was asked to stop."""


@dataclass(frozen=True)
class FinishedStudy:
    """What a launch leaves behind."""

    result: StudyResult
    directory: Path
    reference_scores: dict[str, Any]
    """Of pure noise and of real images."""
    tracking_uri: str
    untracked: list[str]
    """One sentence for each thing that is missing in MLflow, as far as it is known."""
    interrupted: bool
    """Whether it was asked to stop."""
    refusal: str
    """Why the budget let no further trial or retraining begin; empty if it did."""
    answer: str = ""
    """What the study found, in a sentence; see `diffrop.console.last_screen`."""


def run_study(
    config: StudyConfig,
    launch: LaunchConfig,
    prepared: PreparedStudy,
    command: str,
    screen: Screen,
    render: Render,
    show: Callable[[FinishedStudy], object] = lambda finished: None,
) -> FinishedStudy:
    """Run or resume a study to its number of trials, and confirm its leaders if asked to.

    Args:
        config: the study.
        launch: resources, stores and budget of this launch.
        prepared: what `prepare` returned for both.
        command: the command line, kept in the study's folder.
        screen: what is shown while it runs.
        render: draws figures and report.
        show: shows the results, once they are written and before anything is drawn.

    Raises:
        StudyError: the study is running elsewhere, its database cannot be used, or it was started
            with another configuration, other images or another extractor.
        ResourceError: the cluster is out of reach or too small.
        OutageError: the database, or room on a disk, was away for too long. The trials have
            saved; results are written as far as that was possible.
    """
    run = StudyRun(config, launch, prepared, screen)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with (
        run.stop.watched(),
        warnings.catch_warnings(),
        contextlib.ExitStack() as joined,
    ):
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if not launch.resume:
            _join_cluster(run, joined)  # first: no study is left behind if that fails
            fingerprints = fingerprints_of(prepared.inputs)
            run.study = prepared.store.create(config, command, launch, fingerprints, run.patience)
        with run.drivers.join(exclusive=launch.storage is None), _outage_noted(run):
            _open(run, command)
            with contextlib.suppress(KeyboardInterrupt), joined:
                _run_stages(run, joined)
            finished = _close(run, render, show)
        if run.outage:
            raise OutageError(run.outage)
        return finished


@contextlib.contextmanager
def _outage_noted(run: StudyRun) -> Iterator[None]:
    """Leave screen and MLflow in order if a launch ends because something was away too long."""
    try:
        yield
    except OutageError:
        run.screen.close()
        if "tracker" in vars(run):
            run.tracker.close("FAILED")
        raise


def _open(run: StudyRun, command: str) -> None:
    """Take the study up, and write down and log what is known before its first trial."""
    run.screen.working("opening the study's database and MLflow")
    launch, folder, prepared = run.launch, run.folder, run.prepared
    if not run.drivers.others():
        withdraw_stop(folder.path, run.checkpoints.mirror)  # of earlier launches
    if launch.resume:
        fingerprints = fingerprints_of(run.inputs)
        run.study = prepared.store.resume(run.config, command, launch, fingerprints, run.patience)
        set_damaged_files_aside(run)
    else:
        remember(run.study, prepared.warm_start)
        write_notes(folder, prepared.warm_start)
    write_json(folder.reference_scores, prepared.reference_scores)
    _push(run)  # a driver may be lost with its disk
    run.tracker.log_study(folder)
    run.budget = BudgetTracker(launch, run.reader)


def _close(
    run: StudyRun,
    render: Render,
    show: Callable[[FinishedStudy], object],
) -> FinishedStudy:
    """Write, show, draw and log what came out, and leave the study.

    What cannot be made again comes first: a stopped launch may have little time left.
    """
    folder = run.folder
    run.stop.waits_for = "the results are being written"
    run.screen.working("writing the results")
    result, refusal = run.write(lambda: _conclude(run))
    run.screen.close()
    run.write(lambda: write_results(result, folder))
    finished = FinishedStudy(
        result,
        folder.path,
        reference_scores=run.prepared.reference_scores,
        tracking_uri=tracking_uri(run.launch),
        untracked=run.tracker.missing(),
        interrupted=run.stop.requested,
        refusal=refusal,
    )
    show(finished)
    run.screen.working("logging the results to MLflow")
    _push(run)
    run.observer.sync_confirmation(folder, result)
    run.tracker.log_study(folder)
    if result.trials:
        standing = progress_of(result, run.concurrent).standing if run.drivers.others() else ""
        drawn = _drawn(run, render, standing)
        run.screen.working("logging figures and report to MLflow")
        run.tracker.log_report(drawn)
    _push(run)
    stopped = run.stop.requested
    status = "FAILED" if run.outage else "KILLED" if stopped else "FINISHED"
    missing = run.tracker.close(status)
    if run.drivers.leave():  # what another runs, a confirmation above all, needs its weights
        withdraw_stop(folder.path, run.checkpoints.mirror)
        if run.launch.keep_trials is not None and not stopped:
            remove_unneeded_weights(run)
    return replace(finished, untracked=missing, interrupted=stopped)


def _drawn(run: StudyRun, render: Render, standing: str) -> list[Path]:
    """Draw figures and report, which can be made again: not for long once a stop was asked for.

    Whatever goes wrong costs neither the results nor the exit code. `standing` says how far the
    study is if other drivers go on with it.
    """
    limit, path = DRAW_STOPPED_S if run.stop.requested else None, run.folder.path
    run.screen.working("drawing figures and report")
    try:
        with run.stop.at_once(), time_limit(limit):
            return render(path, standing)
    except KeyboardInterrupt:
        why = "Not all figures were drawn, nor the report"
    except Exception as error:
        why = f"Figures or report could not be drawn: {described(error)[1]}"
        add_to_log(run.folder.log, traceback.format_exc().splitlines())
    typed = shlex.quote(str(path))
    run.screen.say(f"{why}. To draw them: diffrop figures all {typed} && diffrop report {typed}")
    return []


def _push(run: StudyRun) -> None:
    """Copy what the driver wrote to the remote storage, if there is one."""
    if run.checkpoints.mirror is not None:
        push_results(run.folder.path, run.checkpoints.mirror)


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


def _join_cluster(run: StudyRun, joined: contextlib.ExitStack) -> None:
    """Start or join the launch's cluster, until `joined` is closed.

    Raises:
        FaultError, ResourceError: there is none, or no trial ever fits.
        KeyboardInterrupt: a signal came meanwhile.
    """
    go_on = f"carry on with the same command, --study-name {run.config.name} and --resume"
    starts = run.launch.ray_address == "local"
    run.screen.working("starting Ray" if starts else "joining the Ray cluster")
    with run.stop.at_once():
        joined.enter_context(cluster.connect(run.launch, run.screen.say, go_on))
    check_placement(cluster.nodes(), run.launch)


def _run_stages(run: StudyRun, joined: contextlib.ExitStack) -> None:
    """Run what is left of a study on a cluster, or until a request to stop or the budget's end.

    Raises:
        KeyboardInterrupt: a signal came while Ray started, or a second one.
    """
    remaining = run.num_remaining  # also what another driver runs, or left behind
    stages = Stages(run)
    lost = stages.with_lost_scores()
    if run.stop.requested or not (remaining or run.launch.confirm or lost):
        return
    if run.launch.resume:
        _join_cluster(run, joined)
    nodes = cluster.nodes()
    run.concurrent = cluster.concurrency(run.launch, run.config.num_trials, nodes)
    run.observer.concurrent = run.concurrent
    began = time.monotonic()
    record = run.folder, run.study, run.config, run.launch
    run.screen.working("measuring how fast a worker is, for the plan")
    run.write(lambda: record_plan(*record, run.inputs, nodes))
    if lost:
        stages.score_again(lost)
    if remaining:
        stages.search()
    if run.launch.confirm:
        with try_lock(run.folder.confirmation_lock) as held:
            if held:
                stages.confirm(run.observer.update())
            else:
                run.screen.say("Another driver confirms.")
    wall_s = time.monotonic() - began
    run.write(lambda: record_actual_cost(*record, wall_s))


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

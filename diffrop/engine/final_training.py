"""One training from a configuration to its end, outside any search: the final training."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train import TrainingFailedError
from ray.util.queue import Queue

from diffrop.activity import Tell, untold
from diffrop.config import ExperimentConfig
from diffrop.data import load_dataset
from diffrop.engine.drivers import hold
from diffrop.engine.prepare import scoring_inputs
from diffrop.engine.progress import Screen
from diffrop.engine.stop_signal import StopSignal
from diffrop.errors import StudyError
from diffrop.execution import cluster
from diffrop.execution.run_task import QueueCallback, run_task
from diffrop.execution.trial import Report, TrialTask
from diffrop.metrics.extractors import check_extractor
from diffrop.record.cost_account import CostAccount
from diffrop.record.identity import identity_of
from diffrop.record.json_files import read_json
from diffrop.record.score_card import ScoreCard
from diffrop.record.study_folder import StudyFolder
from diffrop.record.trial_state import Failed, Stopped, TrialReport, read_report
from diffrop.schema import flatten, value_differences
from diffrop.scoring.reference_scores import fid_lines
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import check_scorable
from diffrop.study.config import LaunchConfig
from diffrop.study.rung import last_rung
from diffrop.tracking.launch import check_tracking, open_tracker
from diffrop.tracking.tracked_trial import TrackedTrial
from diffrop.training.identity import TrainingIdentity, identify
from diffrop.training.network import check_batch_fits_workers, check_network
from diffrop.training.stop import withdraw_stop
from diffrop.training.store import CheckpointStore

POLL_INTERVAL_S = 5.0


@dataclass(frozen=True)
class FinalResult:
    """How a final training ended."""

    card: ScoreCard | None
    failure: str
    """Empty, or one sentence."""
    untracked: list[str]
    interrupted: bool = False
    """Whether it was asked to stop, and saved a checkpoint from which it can go on."""


def prepare_final(
    config: ExperimentConfig,
    launch: LaunchConfig,
    *,
    trusted: bool = False,
    tell: Tell = untold,
) -> tuple[ScoringInputs, dict[str, Any]]:
    """Check a training, and return what scores it and the scores of real images and noise.

    Args:
        config: what is trained.
        launch: how it runs.
        trusted: whether an extractor of one's own may be called; see `make_extractor`.
        tell: is told how far it is.

    Raises:
        ValueError: something in it is not allowed.
        ResourceError: it needs more than this machine has.
    """
    check_extractor(config.evaluation.extractor, trusted=trusted)
    check_tracking(launch)
    check_batch_fits_workers(config, launch.workers_per_trial)
    cluster.check_this_machine(launch)
    dataset = load_dataset(config.data, tell)
    check_network(config, dataset)
    check_scorable(config, dataset, [config.evaluation.num_samples])
    runs_root = Path(launch.runs_root).resolve()
    return scoring_inputs(config.evaluation, dataset, runs_root, trusted=trusted, tell=tell)


def train_final(
    config: ExperimentConfig,
    inputs: ScoringInputs,
    directory: Path,
    launch: LaunchConfig,
    screen: Screen,
    experiment: str | None = None,
) -> FinalResult:
    """Train, score once at the end, and log to an MLflow experiment.

    Ctrl-C, SIGTERM or SIGHUP ends it after a checkpoint, from which another call goes on. The
    experiment has the folder's name unless `experiment` gives another.

    Raises:
        StudyError: another process trains in `directory`, or it holds another training.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with hold(directory):
        return _train(config, inputs, directory, launch, screen, experiment or directory.name)


def _train(
    config: ExperimentConfig,
    inputs: ScoringInputs,
    directory: Path,
    launch: LaunchConfig,
    screen: Screen,
    experiment: str,
) -> FinalResult:
    rung = last_rung(config)
    task = TrialTask(
        directory=directory,
        config=config,
        rungs=(rung,),
        store=CheckpointStore(directory.resolve().parent / "checkpoints"),
        training=identify(config, launch.workers_per_trial, inputs.dataset.train_digest),
        study=directory.name,
        stop_directory=directory,
        gpus_per_worker=launch.gpus_per_worker,
    )
    _check_same_training(task)
    tracker = open_tracker(
        launch,
        experiment,
        identity_of(StudyFolder(directory)),
        time.strftime("launch-%Y%m%d-%H%M%S"),
        {},
        inputs,
    )

    reports: list[TrialReport] = []
    withdraw_stop(directory)  # of a call that was killed
    stop = StopSignal(directory, say=screen.say)
    with stop.watched(), contextlib.ExitStack() as stack:
        if launch.workers_per_trial > 1:  # one worker needs no cluster
            screen.working("starting Ray")
            with stop.at_once():
                go_on = f"give the same command with --resume; the training is in {directory}"
                stack.enter_context(cluster.connect(launch, screen.say, go_on))
        _in_background(
            lambda: _execute(task, inputs, launch, reports.append),
            lambda: _show_progress(task, rung.images, screen),
        )
    cards = task.folder.scores()
    card = cards[-1] if cards and cards[-1].final else None
    if card is not None:
        state, ended, failure = "COMPLETE", "FINISHED", ""
    elif stop.requested or any(isinstance(report, Stopped) for report in reports):
        state, ended, failure = "RUNNING", "KILLED", ""
    else:
        state, ended = "FAIL", "FAILED"
        failures = [report.message for report in reports if isinstance(report, Failed)]
        failure = failures[-1] if failures else "the workers failed too often"
    account = CostAccount(StudyFolder(directory))
    account.add(task.folder, "trial")
    trial = TrackedTrial(
        number=0,
        name=directory.name,
        folder=task.folder,
        state=state,
        params=flatten(config.to_dict()),
        tags={"form": config.contrastive.form},
        message=failure,
        costs=tuple(account.of_folder(task.folder)),
        log_every_images=config.training.log_every_images,
        until=rung.images,
    )
    tracker.sync(trial)
    return FinalResult(card, failure, tracker.close(ended), interrupted=ended == "KILLED")


def _check_same_training(task: TrialTask) -> None:
    """Refuse to go on with the folder of another training, whose curves would be mixed with it.

    Another number of workers is allowed: the same training then begins anew.

    Raises:
        StudyError: the folder's training has other settings, or other images.
    """
    if not task.folder.training_link.exists():
        return
    try:
        stored = read_json(task.folder.training().identity_path)
        before = TrainingIdentity.from_dict(stored)
    except ValueError:
        return  # the store names what is damaged
    now = task.training
    differing = value_differences(before.canonical, now.canonical)
    if before.data_digest != now.data_digest:
        differing.append("the training images")
    if differing:
        raise StudyError(
            f"{task.directory} holds another training: {'; '.join(differing)}; resume it as it "
            "was, or give another --name"
        )


def _in_background(work: Callable[[], None], meanwhile: Callable[[], None]) -> None:
    """Do `work` in a thread: in the main one Ray Train would handle Ctrl-C in place of us."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(POLL_INTERVAL_S)
    while thread.is_alive():
        meanwhile()
        thread.join(POLL_INTERVAL_S)
    if errors:
        raise errors[0]


def final_lines(card: ScoreCard, reference_scores: Mapping[str, Any]) -> list[str]:
    """Return a training's FIDs beside those of real images and noise, and how it was scored."""
    count = "" if card.evaluations is None else f" ({card.evaluations:,} evaluations an image)"
    return [
        *fid_lines(card.scores, card.num_samples, reference_scores),
        f"omega {card.omega:g}, {card.sampler}{count}",
        *([card.preference.reason] if card.preference else []),
        f"{card.extractor}, {card.images_seen:,} images, against the {card.reference}",
    ]


def _execute(task: TrialTask, inputs: ScoringInputs, launch: LaunchConfig, report: Report) -> None:
    if launch.workers_per_trial == 1:
        run_task(task, inputs, launch, report, "", "", [])
        return
    storage = str(task.directory.parent / ".ray")
    queue = Queue(actor_options={"num_cpus": 0})
    try:
        name, callbacks = task.directory.name, [QueueCallback(queue)]
        run_task(task, inputs, launch, report, storage, name, callbacks)
    except TrainingFailedError as error:
        last = str(error).strip().splitlines()[-1]
        lost = f"the workers failed more than {launch.max_failures} times: {last}"
        report(Failed(message=lost))
    while not queue.empty():
        if (found := read_report(queue.get())) is not None:
            report(found)


def _show_progress(task: TrialTask, images: int, screen: Screen) -> None:
    """Show how far the score is, or else the newest row of the curves, if there is one."""
    scoring = task.folder.scoring()
    if scoring is not None:
        screen.working(scoring.text)
        return
    every = task.config.training.log_every_images
    row = task.folder.training().newest_row(every, images)
    if not row:
        screen.working("beginning to train")
        return
    pcl = f", pcl/grad_ratio {row['pcl/grad_ratio']:.3g}" if "pcl/grad_ratio" in row else ""
    screen.working(
        f"training: {row['images_seen']:,} of {images:,} images, loss/ddpm {row['loss/ddpm']:.4f}"
        f"{pcl}, {row['images_per_s']:,.0f} images/s"
    )

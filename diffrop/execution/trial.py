"""One trial: train from rung to rung, score at each, report.

The same function runs in the trial's own process (one worker) and in every worker of a Ray Train
group (several). All state is in the trial's folder and in its training's, so that a restarted
trial goes on from it.
"""

import contextlib
import logging
import socket
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from diffrop import distributed
from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.errors import OutageError, StopRequested
from diffrop.patience import Patience
from diffrop.record.score_card import ScoreCard, write_score
from diffrop.record.trial_folder import TrialFolder
from diffrop.record.trial_state import RungReached, TrialReport
from diffrop.scoring.grid import save_grid
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import score_model, scored_alike
from diffrop.storage import set_aside
from diffrop.study.objectives import BaselineScores
from diffrop.study.rung import Rung, guides_of
from diffrop.training.identity import TrainingIdentity, split_key
from diffrop.training.room import Room
from diffrop.training.scored_networks import averages, guides
from diffrop.training.session import TrainingSession
from diffrop.training.stop import StopNotice
from diffrop.training.store import CheckpointStore, TrainingFolder
from diffrop.training.trainer import Trainer

Report = Callable[[TrialReport], object]


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """What one trial does, and where it keeps its files."""

    directory: Path
    config: ExperimentConfig
    rungs: tuple[Rung, ...]
    store: CheckpointStore
    training: TrainingIdentity
    """What is trained; other trials may share it."""
    study: str
    """Whose checkpoints these are: nothing else removes them."""
    stop_directory: Path | None = None
    """The folder in which a request to stop is looked for."""
    driver: str = ""
    """Whose request to stop it heeds, beside one to all."""
    gpus_per_worker: float = 0.0
    outage_wait_s: float = 0.0
    """So long it waits for room on a full disk."""
    baseline: Path | None = None
    """Folder of the baseline, whose scores the constraints refer to."""
    scored: bool = True
    """False for a training that others start from, and nobody scores."""

    def baseline_scores(self, rung: Rung) -> BaselineScores | None:
        """Return the baseline's scores at a rung, by number of samples; None if unknown."""
        if self.baseline is None:
            return None
        card = TrialFolder(self.baseline).score(rung.images)
        return None if card is None else card.scores_by_num_samples

    @property
    def folder(self) -> TrialFolder:
        """Where it keeps its files."""
        return TrialFolder(self.directory)

    @property
    def key(self) -> str:
        """The training's key."""
        return self.training.key

    @property
    def parent(self) -> str | None:
        """The key of the checkpoint from which the training forks."""
        return self.training.parent

    def stop_notice(self) -> StopNotice:
        """Return what tells whether it is to stop; every worker asks for it."""
        nodes = distributed.gathered(socket.gethostname())
        return StopNotice(self.stop_directory, self.store.mirror, self.driver, nodes)

    def patience(self) -> Patience:
        """Return its patience with a full disk."""
        log = logging.getLogger(__name__).warning
        stop, mark = self.stop_notice(), self.folder.waiting_mark
        return Patience(self.outage_wait_s, log, stop.requested, mark=mark)

    @property
    def guides(self) -> set[int]:
        """The images of the checkpoints that guide those at its rungs."""
        return guides_of(self.config, self.rungs) if self.scored else set()

    def session(
        self, dataset: Dataset, device: torch.device, patience: Patience
    ) -> TrainingSession:
        """Take up the training, and keep the checkpoints at the rungs for the study."""
        session = TrainingSession(
            self.config,
            dataset,
            device,
            self.store,
            self.training,
            self.stop_notice(),
            self.gpus_per_worker,
            self.study,
            patience,
        )
        session.room.write(lambda: self._pin(session.folder), session.folder.path)
        return session

    def _pin(self, folder: TrainingFolder) -> None:
        folder.pin(self.study, {rung.images for rung in self.rungs} | self.guides)
        if self.parent is not None:
            key, images = split_key(self.parent)
            self.store.folder(key).pin(self.study, [images])


def run_trial(
    task: TrialTask,
    inputs: ScoringInputs,
    device: torch.device,
    report: Report,
    patience: Patience | None = None,
) -> None:
    """Train and score a trial; what the store or its folder holds of that is not done again.

    Args:
        task: what to train.
        inputs: dataset, extractor and reference.
        device: of this worker.
        report: receives `RungReached` at each rung, on every worker.
        patience: with a full disk; None takes the task's own.

    Raises:
        OutageError: the disk was full for longer than is waited for; the same task goes on from
            the newest checkpoint.
        StopRequested: the study or this node was asked to stop; a checkpoint is saved, and the
            same task goes on from it.
        NonFiniteError, OutOfMemoryError, CheckpointError: as Trainer and score_model.
        StorageError: scores could not be copied to the remote storage.
    """
    patience = patience or task.patience()
    with _log_to(task.folder.log):
        Room(patience, device).write(lambda: _take_up(task), task.directory)
        session = task.session(inputs.dataset, device, patience)
        for rung in task.rungs:
            if not task.scored:
                session.raise_if_stopped()
                session.reach(rung.images)
                report(RungReached(images_seen=rung.images, final=rung.final))
                continue
            baseline = distributed.from_rank_0(task.baseline_scores(rung), device)
            card = _stored_score(rung, task, inputs, baseline, device)
            if card is None:
                session.raise_if_stopped()
                # Those of later rungs too: a child that starts from here has no other.
                session.hold_guides(count for count in task.guides if count < rung.images)
                trainer = session.reach(rung.images)
                card = _score(rung, trainer, task, inputs, baseline, session)
            report(_rung_reached(card, task))


def _take_up(task: TrialTask) -> None:
    """Fetch what another node wrote of this trial, and link its folder to its training's.

    Scores of another training (the number of workers may change between launches) are set aside,
    and so are damaged ones: what they are of is scored again.
    """
    task.store.pull(task.directory)
    if task.baseline is not None:
        task.store.pull(TrialFolder(task.baseline).scores_path)
    before = task.folder.training_key() or task.key
    scores = task.folder.scores_path
    if before != task.key and scores.exists():
        aside = f"scores-{before}-{time.strftime('%Y%m%d-%H%M%S')}"
        scores.rename(task.directory / aside)
        if task.store.mirror is not None:
            task.store.mirror.delete(scores)
    task.folder.use_training(task.key, task.store.root)
    task.folder.set_damaged_aside(read_checkpoint)


def _stored_score(
    rung: Rung,
    task: TrialTask,
    inputs: ScoringInputs,
    baseline: BaselineScores | None,
    device: torch.device,
) -> ScoreCard | None:
    """Return the score that an earlier run of this trial stored, if one now would be alike."""
    card = None
    if distributed.rank() == 0 and (found := task.folder.score(rung.images)) is not None:
        alike = scored_alike(found, task.config, inputs, rung, baseline)
        card = found if alike else None
    return distributed.from_rank_0(card, device)


def _score(
    rung: Rung,
    trainer: Trainer,
    task: TrialTask,
    inputs: ScoringInputs,
    baseline: BaselineScores | None,
    session: TrainingSession,
) -> ScoreCard:
    with task.folder.noting_scoring(distributed.rank() == 0) as note:
        networks, errors = averages(trainer, session.folder)
        scored = score_model(
            networks,
            trainer.schedule,
            task.config,
            inputs,
            rung,
            trainer.images_seen,
            baseline,
            session.joint_stop,
            guides(trainer, session.folder),
            note,
            errors,
        )

    def write() -> None:
        path = task.folder.score_path(rung.images)
        grid = task.folder.grid_path(rung.images)
        save_grid(scored.images, inputs.dataset.num_classes, grid)
        if scored.influence:
            influence = Checkpoint(scored.influence, {"scores": path.name})
            write_checkpoint(path.with_suffix(".safetensors"), influence)
        write_score(path, scored.card)

    session.room.write(write, task.directory)
    if distributed.rank() == 0 and task.store.mirror is not None:
        task.store.mirror.push(task.directory)
    distributed.barrier()
    return scored.card


def _rung_reached(card: ScoreCard, task: TrialTask) -> RungReached:
    return RungReached(
        images_seen=card.images_seen,
        final=card.final,
        values=tuple(card.values),
        scores=card.scores,
        omega=card.omega,
        training_key=task.key,
    )


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Collect warnings and log records of this process in the trial's own file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        set_aside(path)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    except (StopRequested, OutageError) as stopped:
        logging.getLogger(__name__).warning("%s", stopped)
        raise
    except Exception:
        logging.getLogger(__name__).exception("the trial failed")
        raise
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # a full disk costs lines of the log alone
            handler.close()

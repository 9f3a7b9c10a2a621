"""The running study: what all stages of a launch share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import optuna

from diffrop.cost.budget import BudgetTracker
from diffrop.engine.drivers import Drivers
from diffrop.engine.observer import StudyObserver
from diffrop.engine.prepare import PreparedStudy
from diffrop.engine.progress import Screen
from diffrop.engine.stop_signal import StopSignal
from diffrop.execution.tasks import TaskMaker, open_store
from diffrop.patience import Patience, full_disk
from diffrop.record.identity import identity_of
from diffrop.record.result_reader import ResultReader
from diffrop.record.study_folder import StudyFolder
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.ownership import PeerDrivers, known_drivers, num_remaining
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.tracking.experiment import SAMPLES_SEED, SEED
from diffrop.tracking.launch import open_tracker
from diffrop.tracking.tracker import Tracker
from diffrop.tracking.views import saved_views
from diffrop.training.store import CheckpointStore

Found = TypeVar("Found")


@dataclass
class StudyRun:
    """One launch of a study. Its state is in the study's folder and database, and only there."""

    config: StudyConfig
    launch: LaunchConfig
    prepared: PreparedStudy
    """The study's store, and what all of its trials share."""
    screen: Screen
    study: optuna.Study = field(init=False)
    """Optuna's; it is opened once this process is a driver of the study."""
    budget: BudgetTracker = field(init=False)
    """It counts the wall clock of the launch from when the study is opened."""
    concurrent: int = 1
    """Trials at a time; known once the cluster is joined."""
    outage: str = ""
    """What was away for too long, so that the launch ends."""

    @property
    def folder(self) -> StudyFolder:
        """Where the study leaves everything."""
        return self.prepared.store.folder

    @property
    def inputs(self) -> ScoringInputs:
        """Dataset, extractor and reference, which all trials share."""
        return self.prepared.inputs

    @cached_property
    def checkpoints(self) -> CheckpointStore:
        """The trainings of all studies of the runs folder."""
        return open_store(self.launch, self.folder.path.parent)

    @cached_property
    def drivers(self) -> Drivers:
        """The processes that drive the study, this one among them."""
        return Drivers(self.folder.drivers)

    @cached_property
    def stop(self) -> StopSignal:
        """The request to stop, by a signal, a file, or a fault that needs another launch."""
        mirror = self.checkpoints.mirror
        return StopSignal(self.folder.path, self.drivers.own, mirror, self.screen.say)

    @cached_property
    def patience(self) -> Patience:
        """With the database: past its limit the trials save and stop."""
        return self._new_patience()

    @cached_property
    def _disk(self) -> Patience:
        return self._new_patience()

    def _new_patience(self) -> Patience:
        wait_s, say = self.launch.outage_wait_s, self.screen.say
        return Patience(wait_s, say, lambda: self.stop.requested, self.stop_for_outage)

    def stop_for_outage(self, sentence: str) -> None:
        """Let the trials save and stop, because something was away for too long."""
        self.outage = self.outage or sentence
        self.stop.ask("An outage")

    def write(self, action: Callable[[], Found]) -> Found:
        """Write results, which may be repeated, and wait where there is no room on the disk.

        Raises:
            OutageError: there was none for longer than is waited for.
        """
        return self._disk.retry(action, full_disk(self.folder.path))

    @cached_property
    def tracker(self) -> Tracker:
        """This launch's run in MLflow."""
        config = self.config
        return open_tracker(
            self.launch,
            experiment=config.name,
            token=identity_of(self.folder),
            run=time.strftime("launch-%Y%m%d-%H%M%S"),
            params={"num_trials": config.num_trials, "seed": config.seed},
            inputs=self.inputs,
            views=saved_views(
                config.experiment.evaluation.objectives,
                [parameter.name for parameter in config.space.parameters],
            ),
            driver=self.drivers.own,
            known_drivers=known_drivers(self.study),
            alive=None if self.launch.storage is None else self.drivers.alive,
        )

    @cached_property
    def reader(self) -> ResultReader:
        """It reads the trials as they stand, and keeps the cost account."""
        fetch = self.checkpoints.pull_trial
        return ResultReader(self.study, self.folder, self.config, fetch)

    @cached_property
    def observer(self) -> StudyObserver:
        """It follows the trials for MLflow and the screen."""
        experiment = self.config.experiment
        seeds = {SEED: experiment.training.seed, SAMPLES_SEED: experiment.evaluation.seed}
        return StudyObserver(
            self.reader.read,
            self.reader.account,
            self.tracker,
            self.screen,
            {name: str(seed) for name, seed in seeds.items()},
            self.drivers.own,
            self.drivers.alive,
            lambda: self.budget.spent(),
        )

    @cached_property
    def tasks(self) -> TaskMaker:
        """What turns points into tasks."""
        digest = self.inputs.dataset.train_digest
        return TaskMaker.on_driver(
            self.config, self.launch, self.folder.path, digest, self.drivers.own
        )

    @property
    def peers(self) -> PeerDrivers:
        """The other drivers that may work on the study."""
        lock = None if self.launch.storage is None else self.folder.path / "ask.lock"
        return PeerDrivers(self.drivers.own, self.drivers.alive, lock)

    @property
    def num_remaining(self) -> int:
        """Trials that have not ended, whoever runs them, and those that have not begun."""
        return num_remaining(self.study, self.config)

    @property
    def may_begin(self) -> bool:
        """Whether a trial or a retraining may begin: nobody asked to stop, and there is budget."""
        return not self.stop.requested and not self.budget.refusal()

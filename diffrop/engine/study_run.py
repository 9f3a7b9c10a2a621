"""The running study: what all stages of a launch share."""

from dataclasses import dataclass
from functools import cached_property

import optuna

from diffrop.cost.budget import BudgetTracker
from diffrop.engine.drivers import Drivers, StopSignal
from diffrop.engine.observer import StudyObserver
from diffrop.engine.progress import Screen
from diffrop.execution.tasks import TaskMaker
from diffrop.record.results import ResultReader
from diffrop.record.study_folder import StudyFolder
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.ownership import PeerDrivers, num_remaining
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.training.store import CheckpointStore


@dataclass
class StudyRun:
    """One launch of a study. Its state is in the study's folder and database, and only there."""

    config: StudyConfig
    launch: LaunchConfig
    folder: StudyFolder
    inputs: ScoringInputs
    """Dataset, extractor and reference, which all trials share."""
    study: optuna.Study
    checkpoints: CheckpointStore
    """Of all studies of the runs folder."""
    reader: ResultReader
    observer: StudyObserver
    screen: Screen
    drivers: Drivers
    stop: StopSignal
    budget: BudgetTracker
    concurrent: int = 1
    """Trials at a time; known once the cluster is joined."""

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

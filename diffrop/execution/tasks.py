"""What a study runs, as tasks: its trials, the prefix that forks share, and confirmations."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from diffrop.checkpoint_file import read_checkpoint
from diffrop.config import ExperimentConfig
from diffrop.data import Dataset
from diffrop.execution.trial import TrialTask
from diffrop.record.study_folder import StudyFolder
from diffrop.schema import require
from diffrop.storage import RemoteMirror
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.rung import Rung, images_of_guide
from diffrop.training.fork import check_fork
from diffrop.training.identity import TrainingIdentity, forked, identify
from diffrop.training.store import CheckpointStore


@dataclass(frozen=True)
class TaskMaker:
    """Turns what is suggested into tasks; the same on the driver and on every node."""

    study: StudyConfig
    launch: LaunchConfig
    directory: Path
    """The study's folder."""
    data_digest: str
    """Of the training images."""
    driver: str = ""
    """Who runs the tasks."""
    imported: TrainingIdentity | None = None
    """What the checkpoint of `fork_from` is, where that is a file: found on the driver, so that
    no node needs to read it but from the store."""
    imported_images: int = 0
    """Images that it has seen."""

    @classmethod
    def on_driver(
        cls,
        study: StudyConfig,
        launch: LaunchConfig,
        directory: Path,
        data_digest: str,
        driver: str,
    ) -> "TaskMaker":
        """Return the maker of a study, its checkpoint to fork from taken into the store."""
        made = cls(study, launch, directory, data_digest, driver)
        fork = study.fork_point
        if fork is None or fork.path is None:
            return made
        return replace(
            made, imported=made.store.import_checkpoint(fork.path), imported_images=fork.images
        )

    @cached_property
    def store(self) -> CheckpointStore:
        """The checkpoints of all studies of the runs folder."""
        return open_store(self.launch, self.directory.parent)

    def trial_directory(self, number: int) -> Path:
        """The folder of a trial."""
        return StudyFolder(self.directory).trial(number).path

    def trial(
        self, number: int, values: Mapping[str, Any], parent: Mapping[str, int] | None = None
    ) -> TrialTask:
        """Return the task of a trial.

        Args:
            number: of the trial.
            values: searched keys.
            parent: {"trial", "images"} of the checkpoint that it goes on from; None is the
                study's own beginning.
        """
        config = self.study.experiment.with_values(values)
        training, start = self._begin(config, parent)
        rungs = tuple(rung for rung in self.study.rungs if rung.images > start)
        guarded = number > 0 and any(
            constraint.to_baseline for constraint in config.evaluation.parsed_constraints
        )
        baseline = self.trial_directory(0) if guarded else None
        return self._task(self.trial_directory(number), config, rungs, training, baseline)

    def prefix(self, seed: int) -> TrialTask | None:
        """Return the training up to where trials of a training seed fork, None without one."""
        if not self.study.prefix_images:
            return None
        config = self.study.baseline.with_values({"training.seed": seed})
        rung = Rung(images=self.study.prefix_images, num_samples=0, num_steps=None, final=True)
        directory = StudyFolder(self.directory).prefix(seed).path
        return self._task(directory, config, (rung,), self._identify(config), scored=False)

    def retraining(
        self, number: int, seed: int, config: ExperimentConfig, rung: Rung
    ) -> TrialTask:
        """Return the task of one training of a confirmation.

        Args:
            number: of the trial that is confirmed.
            seed: which of the fresh seeds.
            config: of the trial, with the fresh seed.
            rung: the only one.
        """
        training, _ = self._begin(config, None)
        directory = StudyFolder(self.directory).retraining(number, seed).path
        return self._task(directory, config, (rung,), training)

    def _task(
        self,
        directory: Path,
        config: ExperimentConfig,
        rungs: tuple[Rung, ...],
        training: TrainingIdentity,
        baseline: Path | None = None,
        scored: bool = True,
    ) -> TrialTask:
        return TrialTask(
            directory=directory,
            config=config,
            rungs=rungs,
            store=self.store,
            training=training,
            study=self.study.name,
            stop_directory=self.directory,
            driver=self.driver,
            gpus_per_worker=self.launch.gpus_per_worker,
            outage_wait_s=self.launch.outage_wait_s,
            baseline=baseline,
            scored=scored,
        )

    def _begin(
        self, config: ExperimentConfig, parent: Mapping[str, int] | None
    ) -> tuple[TrainingIdentity, int]:
        """Return a configuration's training, and the images at which it leaves another's."""
        if parent is not None:
            above, start = StudyFolder(self.directory).trial(parent["trial"]), parent["images"]
            self.store.pull(above.training_note)
            key = above.training_key()
            assert key is not None  # it reached the rung that is forked from
            folder = self.store.folder(key)
            folder.pull()
            origin = folder.identity()
        elif self.imported is not None:
            origin, start = self.imported, self.imported_images
        elif self.study.prefix_images:
            start = self.study.prefix_images
            seed = {"training.seed": config.training.seed}
            origin = self._identify(self.study.baseline.with_values(seed))
        else:
            return self._identify(config), 0
        workers = self.launch.workers_per_trial
        return forked(origin, start, config, workers, self.data_digest), start

    def _identify(self, config: ExperimentConfig) -> TrainingIdentity:
        return identify(config, self.launch.workers_per_trial, self.data_digest)


def open_store(launch: LaunchConfig, runs_root: Path) -> CheckpointStore:
    """Return the checkpoints of a runs folder, mirrored where the launch asks for it."""
    mirror = None
    if launch.storage_path is not None:
        mirror = RemoteMirror(launch.storage_path, runs_root)
    return CheckpointStore(runs_root / "checkpoints", mirror)


def check_forks(config: StudyConfig, dataset: Dataset) -> None:
    """Check, before anything starts, that every trial can start from where the study forks.

    Raises:
        ValueError: `fork_from` is no fork, lies behind the first rung or behind what guides it,
            or a searched key changes what trainings that go on from each other must share.
    """
    base = config.experiment
    inherits = config.scheduler == "pbt"
    if config.fork_from is None and not inherits:
        return
    start, card = 0, {"config": config.baseline.to_dict(), "data_digest": dataset.train_digest}
    if (fork := config.fork_point) is not None:
        start = fork.images
        if fork.path is not None:
            card = read_checkpoint(fork.path).card
        first = config.rungs[0].images
        require(start < first, "fork_from", config.fork_from, f"less than the first rung, {first}")
        seeds = [p.name for p in config.space.parameters if p.name == "training.seed"]
        require(not seeds, "fork_from", config.fork_from, "a study that searches no training.seed")
        _check_guides(base, start, first)
    for experiment in (config.baseline, *config.space.corners(base)):
        try:
            check_fork(card | {"images_seen": start}, experiment, dataset)
        except ValueError as error:
            raise ValueError(f"trials cannot go on from a shared checkpoint: {error}") from error


def _check_guides(config: ExperimentConfig, start: int, first: int) -> None:
    """Refuse guides of before a fork at `start` images, of which no checkpoint is kept."""
    for share in config.scored_guides:
        if share is not None:
            images = images_of_guide(share, first, config.training.batch_size)
            allowed = (
                f"shares of at least {start / first:.3g}, for the trials fork at {start:,} images "
                f"and are first scored at {first:,}"
            )
            require(images >= start, "evaluation.guides", share, allowed)

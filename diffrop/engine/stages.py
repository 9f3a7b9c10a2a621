"""The stages of a launch on its cluster: shared prefix, baseline, search, confirmation."""

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from diffrop.confirmation.assessment import assess, confirm_dict, next_points
from diffrop.confirmation.plan import (
    BASELINE,
    Candidate,
    Confirmation,
    ConfirmPoint,
    missing_points,
    plan_confirmation,
    read_cards,
    record_failure,
)
from diffrop.engine.drivers import Drivers, StopSignal
from diffrop.engine.observer import StudyObserver
from diffrop.engine.progress import Screen
from diffrop.errors import StudyError
from diffrop.execution.run_task import run_task
from diffrop.execution.task_sources import FixedTasks, FixedTaskSearcher, SearchTasks, TaskSource
from diffrop.execution.tasks import TaskMaker
from diffrop.execution.trial import TrialTask
from diffrop.record.results import StudyResult
from diffrop.record.study_files import CONFIRMATION, read_record, write_record
from diffrop.record.study_store import StudyStore
from diffrop.record.trial_folder import pull_trial, trial_key
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.ownership import PeerDrivers, num_remaining
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.searcher import COOL_DOWN_S, OptunaStudySearcher
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.objectives import parse_constraints

MOST_STOPS = 10
"""Of what trials fork from: after that the launch ends."""


@dataclass
class Stages:
    """One launch of a study; all state is in its folder and its database."""

    config: StudyConfig
    launch: LaunchConfig
    store: StudyStore
    inputs: ScoringInputs
    study: optuna.Study
    observer: StudyObserver
    screen: Screen
    drivers: Drivers
    stop: StopSignal
    affordable: Callable[[], bool]
    """Whether the budget allows another trial."""
    concurrent: int
    """Trials at a time."""

    @cached_property
    def maker(self) -> TaskMaker:
        """What turns points into tasks."""
        digest = self.inputs.dataset.train_digest
        return TaskMaker.on_driver(
            self.config, self.launch, self.store.path, digest, self.drivers.own
        )

    def search(self) -> None:
        """Run the trials that are left: first what others start from or are held against."""
        self._train_prefixes({self.config.experiment.training.seed})
        constraints = parse_constraints(self.config.experiment.evaluation.constraints)
        if any(constraint.to_baseline for constraint in constraints):
            self._finish_baseline()
        left = None
        while self._may_begin() and (remaining := num_remaining(self.study, self.config)):
            if remaining == left:
                return  # nothing ended: another launch may have more luck
            left = remaining
            self._run_search(self.concurrent)

    def confirm(self, result: StudyResult) -> None:
        """Train the leaders and the baseline again, and write what that says.

        Near-ties get further seeds, one at a time, as far as the budget goes.
        """
        confirmation = self._confirmation(result)
        if confirmation is None:
            self.screen.say(
                "Nothing to confirm: the baseline or every other trial has no full score."
            )
            return
        num_trials = sum(trial.state != "RUNNING" for trial in result.trials)
        while True:
            cards = read_cards(confirmation, self.maker.confirmation)
            outcome = assess(confirmation, cards)
            points = missing_points(confirmation, cards) or next_points(outcome, cards)
            book = confirm_dict(outcome, num_trials, len(points))
            write_record(self.store.path, self.study, CONFIRMATION, book)
            if not points or not self._may_begin():
                return
            self._train_again(points)
            if read_cards(confirmation, self.maker.confirmation).keys() == cards.keys():
                return  # nothing ended: stopped, or out of budget

    def _confirmation(self, result: StudyResult) -> Confirmation | None:
        ranked = {trial.number: trial for trial in result.ranked}
        baseline = ranked.pop(BASELINE, None)
        if baseline is None or not ranked:
            return None
        before = read_record(self.store.path, CONFIRMATION) or None
        contenders = [
            Candidate.of(ranked[number], inherited=bool(ranked[number].parent))
            for number in result.leaders(self.launch.confirm)
        ]
        return plan_confirmation(
            self.config, self.launch, Candidate.of(baseline), contenders, before
        )

    def _train_again(self, points: Sequence[ConfirmPoint]) -> None:
        self._train_prefixes({point.config.training.seed for point in points})
        names = ", ".join(point.name for point in points)
        self.screen.say(f"Confirming with fresh seeds: {names}.")
        tasks = [self.maker.confirmation(point) for point in points]
        self.observer.confirming = tasks
        for place, why in self._run_given(tasks).items():
            record_failure(tasks[place], why)
        self.observer.update()
        self.observer.confirming = ()

    def _train_prefixes(self, seeds: set[int]) -> None:
        """Train what forks start from, once for each seed, unless it is there and intact.

        What a node's notice stopped goes on after a rest, for no trial can do without it.

        Raises:
            StudyError: it failed, or was stopped too often.
        """
        tasks = [task for seed in sorted(seeds) if (task := self.maker.prefix(seed)) is not None]
        for attempt in range(MOST_STOPS):
            missing = _unfinished(tasks)
            if missing and attempt:
                self._rest()
            if not missing or not self._may_begin():
                return
            images = missing[0].rungs[-1].images
            self.screen.say(f"Training the baseline to {images:,} images, where trials fork.")
            failures = self._run_given(missing)
            if failures:
                place, why = next(iter(failures.items()))
                folder = missing[place].directory
                raise StudyError(f"the training that trials fork from failed: {why} ({folder})")
        if _unfinished(tasks) and self._may_begin():
            raise StudyError(
                f"the training that trials fork from was stopped {MOST_STOPS} times; allowed: "
                f"--resume once no node is told to stop (by {self.store.path}/stop-HOSTNAME)"
            )

    def _finish_baseline(self) -> None:
        """Run the baseline before the others, whose constraints need its scores."""

        def is_open() -> bool:
            trials = self.study.get_trials(deepcopy=False)
            return not trials or not trials[0].state.is_finished()

        while is_open() and self._may_begin():
            self._run_search(concurrent=1, num_trials=1)

    def _rest(self) -> None:
        until = time.monotonic() + COOL_DOWN_S
        while not self.stop.given and time.monotonic() < until:
            time.sleep(1.0)

    def _may_begin(self) -> bool:
        return not self.stop.given and self.affordable()

    def _run_search(self, concurrent: int, num_trials: int | None = None) -> None:
        maker = self.maker

        def forkable(number: int, images: int) -> bool:
            key = trial_key(maker.trial_directory(number))
            return key is not None and images in maker.store.folder(key).images()

        lock = None if self.launch.storage is None else self.store.path / "ask.lock"
        searcher = OptunaStudySearcher(
            self.study,
            self.config,
            concurrent,
            PeerDrivers(self.drivers.own, self.drivers.alive, lock),
            forkable,
            self._may_begin,
            num_trials,
        )
        scheduler = StudyScheduler(self.config, searcher)
        self._tune(SearchTasks(maker), searcher, scheduler, concurrent)

    def _run_given(self, tasks: Sequence[TrialTask]) -> dict[int, str]:
        """Run tasks to their end; return why some failed, by place."""
        searcher = FixedTaskSearcher(len(tasks), self._may_begin)
        self._tune(FixedTasks(tasks), searcher, FIFOScheduler(), len(tasks))
        for task in tasks:
            pull_trial(task.directory, task.store)
        return searcher.failures

    def _tune(
        self,
        source: TaskSource,
        searcher: Searcher,
        scheduler: TrialScheduler,
        concurrent: int,
    ) -> None:
        trainable = tune.with_parameters(
            _run_point,
            source=source,
            launch=self.launch,
            root=str(self.store.path),
            inputs=self.inputs,
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, _tune_resources(self.launch)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # until the searcher has finished
                max_concurrent_trials=min(concurrent, self.concurrent),
                reuse_actors=self.launch.workers_per_trial == 1,
            ),
            run_config=tune.RunConfig(
                name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}",
                storage_path=str(self.store.path / "ray"),
                callbacks=[self.observer],
                failure_config=tune.FailureConfig(max_failures=self.launch.max_failures),
                verbose=0,
            ),
        )
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: Tune stops at once
            tuner.fit()


def _unfinished(tasks: Sequence[TrialTask]) -> list[TrialTask]:
    """Return the tasks whose last checkpoint is missing or damaged."""
    return [task for task in tasks if not task.store.folder(task.key).holds(task.rungs[-1].images)]


def _tune_resources(launch: LaunchConfig) -> tune.PlacementGroupFactory:
    """What Tune holds for a trial: all of it, or a token if Ray Train holds the workers.

    The token is a byte of memory: no resource at all is refused, and any share of a CPU would
    keep the workers from having all of them.
    """
    if launch.workers_per_trial > 1:
        return tune.PlacementGroupFactory([{"memory": 1}])
    bundle = {"CPU": float(launch.cpus_per_worker), "GPU": launch.gpus_per_worker}
    return tune.PlacementGroupFactory([{name: n for name, n in bundle.items() if n}])


def _run_point(
    point: dict[str, Any],
    source: TaskSource,
    launch: LaunchConfig,
    root: str,
    inputs: ScoringInputs,
) -> None:
    """Tune's function trainable: one task."""
    task = source.task(point)
    run_task(
        task,
        inputs,
        launch,
        tune.report,
        storage_path=str(Path(root) / "ray" / "train"),
        run_name=f"{task.directory.name}-{uuid.uuid4().hex[:8]}",
        callbacks=[TuneReportCallback()] if launch.workers_per_trial > 1 else [],
    )

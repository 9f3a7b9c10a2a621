"""The stages of a launch on its cluster: shared prefix, baseline, search, confirmation."""

import contextlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from diffrop.confirmation.assessment import assess, next_points
from diffrop.confirmation.conclusion import confirmation_record
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
from diffrop.engine.study_run import StudyRun
from diffrop.errors import FaultError
from diffrop.execution.run_task import run_task
from diffrop.execution.task_sources import FixedTasks, FixedTaskSearcher, SearchTasks, TaskSource
from diffrop.execution.trial import TrialTask
from diffrop.record.artifacts import keep_grids
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.launch_log import logged_apart
from diffrop.record.reported import lost_scores, note_scored_again
from diffrop.record.result_reader import fetch_trial
from diffrop.record.results import StudyResult
from diffrop.record.shared_records import share_record
from diffrop.record.trial_state import PARENT, VALUES, to_result
from diffrop.scoring.samples import ScoringInputs
from diffrop.search.scheduler import StudyScheduler
from diffrop.search.searcher import COOL_DOWN_S, OptunaStudySearcher
from diffrop.study.config import LaunchConfig

MAX_STOPS = 10
"""Of what trials fork from: after that the launch ends."""

WAITS_FOR = "{} at the next step, then the results are written"
"""What happens after a request to stop, as the user is told."""


@dataclass
class Stages:
    """The stages of one launch on its cluster."""

    run: StudyRun

    def with_lost_scores(self) -> list[TrialTask]:
        """Return the trials that ended and lost a score whose checkpoint is intact, as tasks.

        Each task has the rungs that are to be scored again, and no others.
        """
        run = self.run
        lost = {} if run.drivers.others() else lost_scores(run.study, run.folder)
        found = []
        for trial in run.study.get_trials(deepcopy=False):
            images = lost.get(trial.number)
            if not images or VALUES not in trial.user_attrs:
                continue
            attributes = trial.user_attrs
            task = run.tasks.trial(trial.number, attributes[VALUES], attributes.get(PARENT))
            if task.folder.training_key() not in (None, task.key):
                continue  # with another number of workers; that training is not gone on with
            checkpoints = task.store.folder(task.key)
            rungs = [rung for rung in task.rungs if rung.images in images]
            held = tuple(rung for rung in rungs if checkpoints.holds(rung.images))
            if held:
                found.append(replace(task, rungs=held))
        return found

    def score_again(self, tasks: Sequence[TrialTask]) -> None:
        """Score checkpoints whose scores were lost, the baseline's first: others refer to them."""
        run = self.run
        names = ", ".join(task.directory.name for task in tasks)
        run.screen.say(f"Scoring again, since their scores were lost: {names}.")
        first = [task for task in tasks if task.folder.number == BASELINE]
        for part in (first, [task for task in tasks if task not in first]):
            if part and run.may_begin:
                self._run_fixed(part)
        again = {task.folder.number: [rung.images for rung in task.rungs] for task in tasks}
        note_scored_again(run.study, run.folder, again)

    def search(self) -> None:
        """Run the trials that are left, after what they start from or are compared with."""
        run = self.run
        self._train_prefixes({run.config.experiment.training.seed})
        run.stop.waits_for = WAITS_FOR.format("the running trials save")
        constraints = run.config.experiment.evaluation.parsed_constraints
        if any(constraint.to_baseline for constraint in constraints):
            self._finish_baseline()
        left = None
        while run.may_begin and (remaining := run.num_remaining):
            if remaining == left:
                return  # nothing ended: another launch may have more luck
            left = remaining
            self._run_search(run.concurrent)

    def confirm(self, result: StudyResult) -> None:
        """Train the leaders and the baseline again, and write what that says.

        Near-ties get further seeds, one at a time, as far as the budget goes.
        """
        run = self.run
        confirmation = self._confirmation(result)
        if confirmation is None:
            run.screen.say(
                "Nothing to confirm: the baseline or every other trial has no full score."
            )
            return
        num_trials = sum(trial.state != "RUNNING" for trial in result.trials)
        cards = read_cards(confirmation, self._retraining)
        while True:
            assessment = assess(confirmation, cards)
            points = missing_points(confirmation, cards) or next_points(assessment, cards)
            record = confirmation_record(assessment, num_trials, len(points))
            run.write(partial(share_record, run.study, run.folder.confirmation, record))
            if not points or not run.may_begin:
                return
            self._train_again(points)
            before, cards = cards, read_cards(confirmation, self._retraining)
            if cards.keys() == before.keys():
                return  # nothing ended: stopped, or out of budget

    def _retraining(self, point: ConfirmPoint) -> TrialTask:
        return self.run.tasks.retraining(point.number, point.seed, point.config, point.rung)

    def _confirmation(self, result: StudyResult) -> Confirmation | None:
        run = self.run
        ranked = {trial.number: trial for trial in result.ranked}
        baseline = ranked.pop(BASELINE, None)
        if baseline is None or not ranked:
            return None
        candidates = [
            Candidate.of(ranked[number], inherited=bool(ranked[number].parent))
            for number in result.leaders(run.launch.confirm)
        ]
        before = read_record(run.folder.confirmation, ConfirmationRecord)
        return plan_confirmation(
            run.config, run.launch, Candidate.of(baseline), candidates, before
        )

    def _train_again(self, points: Sequence[ConfirmPoint]) -> None:
        run = self.run
        self._train_prefixes({point.config.training.seed for point in points})
        names = ", ".join(point.name for point in points)
        run.screen.say(f"Confirming with fresh seeds: {names}.")
        run.stop.waits_for = WAITS_FOR.format("the retrainings save")
        tasks = [self._retraining(point) for point in points]
        run.observer.confirming = tasks
        for place, why in self._run_fixed(tasks).items():
            record_failure(tasks[place], why)
        run.observer.update()
        run.observer.confirming = ()

    def _train_prefixes(self, seeds: set[int]) -> None:
        """Train what forks start from, once for each seed, unless it is there and intact.

        What a node's notice stopped goes on after a pause, for no trial can do without it.

        Raises:
            FaultError: it failed, or was stopped too often.
        """
        run = self.run
        made = (run.tasks.prefix(seed) for seed in sorted(seeds))
        tasks = [task for task in made if task is not None]
        for attempt in range(MAX_STOPS):
            missing = _unfinished(tasks)
            if missing and attempt:
                self._cool_down()
            if not missing or not run.may_begin:
                return
            images = missing[0].rungs[-1].images
            run.stop.waits_for = WAITS_FOR.format("what trials fork from is saved")
            run.screen.say(f"Training the baseline to {images:,} images, where trials fork.")
            failures = self._run_fixed(missing)
            if failures:
                place, why = next(iter(failures.items()))
                folder = missing[place].directory
                raise FaultError(f"the training that trials fork from failed: {why} ({folder})")
        if _unfinished(tasks) and run.may_begin:
            raise FaultError(
                f"the training that trials fork from was stopped {MAX_STOPS} times. To fix: "
                f"--resume once no node is asked to stop (by {run.folder.path}/stop-HOSTNAME)"
            )

    def _finish_baseline(self) -> None:
        """Run the baseline before the others, whose constraints need its scores."""
        run = self.run

        def is_open() -> bool:
            trials = run.study.get_trials(deepcopy=False)
            return not trials or not trials[0].state.is_finished()

        while is_open() and run.may_begin:
            self._run_search(concurrent=1, num_trials=1)

    def _cool_down(self) -> None:
        until = time.monotonic() + COOL_DOWN_S
        while not self.run.stop.requested and time.monotonic() < until:
            time.sleep(1.0)

    def _run_search(self, concurrent: int, num_trials: int | None = None) -> None:
        run = self.run

        def forkable(number: int, images: int) -> bool:
            key = run.folder.trial(number).training_key()
            return key is not None and images in run.checkpoints.folder(key).images()

        def scored(trial: optuna.Trial) -> None:
            fetch_trial(run.folder.trial(trial.number), run.checkpoints.pull_trial)
            keep_grids(trial, run.folder)

        searcher = OptunaStudySearcher(
            run.study,
            run.config,
            concurrent,
            run.peers,
            forkable,
            lambda: run.may_begin,
            num_trials,
            run.stop_for_outage,
            scored,
        )
        scheduler = StudyScheduler(run.config, searcher)
        self._tune(SearchTasks(run.tasks), searcher, scheduler, concurrent)

    def _run_fixed(self, tasks: Sequence[TrialTask]) -> dict[int, str]:
        """Run tasks to their end; return why some failed, by place."""
        run = self.run
        searcher = FixedTaskSearcher(len(tasks), lambda: run.may_begin, run.stop_for_outage)
        self._tune(FixedTasks(tasks), searcher, FIFOScheduler(), len(tasks))
        for task in tasks:
            task.store.pull_trial(task.folder)
        return searcher.failures

    def _tune(
        self,
        source: TaskSource,
        searcher: Searcher,
        scheduler: TrialScheduler,
        concurrent: int,
    ) -> None:
        run, root = self.run, self.run.folder.path
        trainable = tune.with_parameters(
            _run_point, source=source, launch=run.launch, root=str(root), inputs=run.inputs
        )
        tuner = tune.Tuner(
            tune.with_resources(trainable, tune_resources(run.launch)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # until the searcher has finished
                max_concurrent_trials=min(concurrent, run.concurrent),
                reuse_actors=run.launch.workers_per_trial == 1,
            ),
            run_config=tune.RunConfig(
                name=f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}",
                storage_path=str(root / "ray"),
                callbacks=[run.observer],
                failure_config=tune.FailureConfig(max_failures=run.launch.max_failures),
                verbose=0,
            ),
        )
        with (
            logged_apart("ray.tune", run.folder.log),  # a lost worker has a trace there
            contextlib.suppress(KeyboardInterrupt),  # a second Ctrl-C: Tune stops at once
        ):
            tuner.fit()


def _unfinished(tasks: Sequence[TrialTask]) -> list[TrialTask]:
    """Return the tasks whose last checkpoint is missing or damaged."""
    return [task for task in tasks if not task.store.folder(task.key).holds(task.rungs[-1].images)]


def tune_resources(launch: LaunchConfig) -> tune.PlacementGroupFactory:
    """What Tune holds for a trial: all of its workers.

    A trial of one worker takes its CPUs and GPUs itself. One of several takes none beside them: an
    empty first bundle puts it where the first of them goes.
    """
    worker = {"CPU": float(launch.cpus_per_worker), "GPU": launch.gpus_per_worker}
    held = {name: count for name, count in worker.items() if count}
    if launch.workers_per_trial == 1:
        return tune.PlacementGroupFactory([held])
    return tune.PlacementGroupFactory([{}, *[held] * launch.workers_per_trial])


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
        lambda found: tune.report(to_result(found)),
        storage_path=str(Path(root) / "ray" / "train"),
        run_name=f"{task.directory.name}-{uuid.uuid4().hex[:8]}",
        callbacks=[TuneReportCallback()] if launch.workers_per_trial > 1 else [],
    )

"""What follows a running study in the driver: MLflow, and the screen."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from diffrop.confirmation.plan import retrainings
from diffrop.engine.progress import Screen, progress_of
from diffrop.errors import OutageError
from diffrop.execution.trial import TrialTask
from diffrop.patience import is_full_disk
from diffrop.record.cost_account import CostAccount
from diffrop.record.result_reader import fetch_trial
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.study_folder import StudyFolder
from diffrop.record.tables import write_trials
from diffrop.record.trial_folder import TrialFolder
from diffrop.study.config import StudyConfig
from diffrop.tracking.experiment import RUN_BY
from diffrop.tracking.tracked_trial import TrackedTrial
from diffrop.tracking.tracker import Tracker

SYNC_INTERVAL_S = 15.0


SYNC_SHARE = 0.1
"""Of the driver's time at most that running trials are synced, however many they are."""


SHOW_INTERVAL_S = 2.0


class StudyObserver(tune.Callback):
    """Follows the trials as Tune reports on them, in the driver.

    An outage that is waited for in vain is left to whoever asks next: Tune's loop goes on, so that
    the trials can save.
    """

    def __init__(
        self,
        snapshot: Callable[[], StudyResult],
        account: CostAccount,
        tracker: Tracker,
        screen: Screen,
        seeds: dict[str, str],
        driver: str = "",
        alive: Callable[[str], bool] = lambda name: False,
        budget_spent: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Watch a study.

        Args:
            snapshot: reads the study's present results.
            account: what the study has cost, which `snapshot` brings up to date.
            tracker: MLflow.
            screen: what is shown.
            seeds: logged as tags of every trial.
            driver: name of this driver.
            alive: whether another driver runs, which then logs its own trials.
            budget_spent: returns the share of the budget that is spent.
        """
        self._snapshot, self._account = snapshot, account
        self._tracker, self._screen = tracker, screen
        self._seeds, self._own, self._alive = seeds, ("", driver), alive
        self._synced: dict[str, tuple[str, bool | None, bool]] = {}
        self._sync_at = self._shown_at = 0.0
        self._budget_spent, self._spent = budget_spent, 0.0
        self._waiting: set[str] = set()
        """Trials that wait for room on the disk, by label."""
        self._listed: list[tuple[str, str, int]] | None = None
        """Label, state and images at the last score of each trial when trials.csv was written."""
        self._num_logged = -1
        """Trials that had ended when the tables were logged last."""
        self.concurrent = 1
        """Trials at a time, for the estimate of the time left."""
        self.confirming: Sequence[TrialTask] = ()
        """Retrainings that this driver runs now."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as nothing: Tune stores its callbacks for a restore that we do not use."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Show and sync now and then, so that both move between rungs."""
        now = time.monotonic()
        with contextlib.suppress(OutageError):
            if now >= self._sync_at:
                self.update()
            elif now - self._shown_at >= SHOW_INTERVAL_S:
                result = self._snapshot()
                self._show(result, self._confirming(result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **i: Any) -> None:
        """Sync when a trial ended; those that run wait for their turn."""
        with contextlib.suppress(OutageError):
            self._update(running=False)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Sync when a trial failed for good."""
        with contextlib.suppress(OutageError):
            self._update(running=False)

    def update(self) -> StudyResult:
        """Bring MLflow and the screen up to date; return the results."""
        start = time.monotonic()
        self._spent = self._budget_spent()
        result = self._update(running=True)
        self._log_tables()
        now = time.monotonic()
        self._sync_at = now + max(SYNC_INTERVAL_S, (now - start) / SYNC_SHARE)
        return result

    def _update(self, running: bool) -> StudyResult:
        result = self._snapshot()
        for task in self.confirming:
            fetch_trial(task.folder, task.store.pull_trial)
        ours = [t for t in result.trials if t.driver in self._own or not self._alive(t.driver)]
        again = self._confirming(result)
        for trial in [*ours, *again]:
            # Of a trial that has ended nothing else changes that is logged.
            now = trial.state, trial.feasible, trial.front
            due = running if trial.state == "RUNNING" else self._synced.get(trial.label) != now
            if due and self._tracker.sync(self._tracked(trial, result.config)):
                self._synced[trial.label] = now
        self._show(result, again)
        return result

    def _write_table(self, result: StudyResult) -> None:
        """Write trials.csv once a trial began, was scored or ended: others read it meanwhile."""
        listed = [
            (trial.label, trial.state, trial.card.images_seen if trial.card else 0)
            for trial in result.trials
        ]
        if listed != self._listed:
            try:
                write_trials(self._account.study, result)
            except OSError as error:
                if is_full_disk(error):
                    return  # it is written with the next look that finds room
                raise
            self._listed = listed

    def _log_tables(self) -> None:
        """Log the tables once a trial has ended."""
        ended = sum(state != "RUNNING" for _, state, _ in self._listed or ())
        if ended != self._num_logged:
            self._tracker.log_study(self._account.study)
            self._num_logged = ended

    def _confirming(self, result: StudyResult) -> list[TrialResult]:
        return retrainings([task.folder for task in self.confirming], result)

    def _show(self, result: StudyResult, again: list[TrialResult]) -> None:
        self._write_table(result)  # what is shown may be drawn from it
        waiting = {
            trial.label
            for trial in (*result.trials, *again)
            if trial.state == "RUNNING" and TrialFolder(trial.directory).waiting_mark.exists()
        }
        for label in sorted(waiting - self._waiting):
            self._screen.say(f"{label} waits: there is no room on the disk of its folder.")
        for label in sorted(self._waiting - waiting):
            self._screen.say(f"{label} no longer waits.")
        self._waiting = waiting
        where = result, self.concurrent, again, len(self.confirming), self._spent
        self._screen.show(progress_of(*where))
        self._shown_at = time.monotonic()

    def _tracked(self, trial: TrialResult, config: StudyConfig) -> TrackedTrial:
        folder = TrialFolder(trial.directory)
        several = len(config.experiment.evaluation.objectives) > 1
        tags = {**_lineage(trial, several), **self._seeds}
        if trial.seed is not None:
            tags = {"form": trial.form}
            self._account.add(folder, "retraining")
        return TrackedTrial(
            number=trial.number,
            name=trial.name,
            folder=folder,
            state=trial.state,
            params=trial.values,
            tags=tags,
            message=trial.message,
            seed=trial.seed,
            costs=tuple(self._account.of_folder(folder)),
            log_every_images=config.experiment.training.log_every_images,
            until=_until(trial, config),
        )

    def sync_confirmation(self, folder: StudyFolder, result: StudyResult) -> None:
        """Log the retrainings in a study's folder, such as confirm/t003-s1, as their own runs."""
        for trial in retrainings(folder.retrainings(), result):
            self._tracker.sync(self._tracked(trial, result.config))


def _until(trial: TrialResult, config: StudyConfig) -> float:
    """Return the images seen at which a trial was stopped, or else at most, at its next rung.

    Another trial or study may have gone on with the same training.
    """
    reached = trial.card.images_seen if trial.card else 0
    if trial.state == "PRUNED":
        return reached or math.inf
    last = config.rungs[-1].images
    if trial.seed is not None:  # it has no rung before the last
        return last
    return next((rung.images for rung in config.rungs if rung.images > reached), last)


def _lineage(trial: TrialResult, several: bool) -> dict[str, str]:
    """What is known of a trial beside its scores and settings, where it is known.

    Args:
        trial: the trial.
        several: whether the study has several objectives, and so a front.
    """
    tags: dict[str, object] = {
        "form": trial.form,
        "parent": trial.parent,
        RUN_BY: trial.driver,
        "feasible": trial.feasible,
        "audited_at": trial.audited_at,
        "front": trial.front if several and trial.state == "COMPLETE" else None,
    }
    return {key: str(value) for key, value in tags.items() if value not in (None, "")}

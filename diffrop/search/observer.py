"""What follows a running study: MLflow, trials.csv, and one line on the screen."""

import time
from collections.abc import Callable
from typing import Any

from ray import tune
from rich.console import Console

from diffrop.search.results import StudyResult, TrialResult
from diffrop.tracking import TrackedTrial, Tracker

SYNC_INTERVAL_S = 15.0


class StudyObserver(tune.Callback):
    """Follows the trials as Tune reports on them, in the driver."""

    def __init__(
        self,
        snapshot: Callable[[], StudyResult],
        tracker: Tracker,
        line: "ProgressLine",
        seeds: dict[str, str],
    ) -> None:
        """Watch a study.

        Args:
            snapshot: reads the study's present results.
            tracker: MLflow.
            line: the progress line.
            seeds: logged as tags of every trial.
        """
        self._snapshot, self._tracker, self._line, self._seeds = snapshot, tracker, line, seeds
        self._synced_at = 0.0
        self.concurrent = 1
        """Trials at a time, for the estimate of the time left."""

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as nothing: Tune stores its callbacks for a restore that we do not use."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Sync now and then, so that curves and the line move between rungs."""
        if time.monotonic() - self._synced_at >= SYNC_INTERVAL_S:
            self.update()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **i: Any) -> None:
        """Sync when a trial ended."""
        self.update()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Sync when a trial failed for good."""
        self.update()

    def update(self) -> StudyResult:
        """Bring MLflow and the line up to date; return the results."""
        result = self._snapshot()
        for trial in result.trials:
            self._tracker.sync(self._tracked(trial))
        self._line.show(result, self.concurrent)
        self._synced_at = time.monotonic()
        return result

    def _tracked(self, trial: TrialResult) -> TrackedTrial:
        return TrackedTrial(
            number=trial.number,
            name=trial.name,
            directory=trial.directory,
            state=trial.state,
            params=trial.values,
            tags={"form": trial.form, **self._seeds},
            message=trial.message,
        )


class ProgressLine:
    """Trials done, best so far, time left.

    On a terminal the line is rewritten in place; elsewhere it is printed whenever a trial ends.
    """

    def __init__(self, console: Console, num_trials: int) -> None:
        """Prepare the line of a study of `num_trials`."""
        self._console, self._num_trials = console, num_trials
        self._done = -1

    def show(self, result: StudyResult, concurrent: int) -> None:
        """Draw the line for the present results, with so many trials at a time."""
        done = sum(trial.state != "RUNNING" for trial in result.trials)
        text = self._text(result, done, concurrent)
        if self._console.is_terminal:
            width = self._console.width - 1
            self._console.file.write("\r" + text[:width].ljust(width))
            self._console.file.flush()
        elif done != self._done:
            self._console.print(text, highlight=False, soft_wrap=True)
        self._done = done

    def close(self) -> None:
        """Leave the line behind."""
        if self._console.is_terminal and self._done >= 0:
            self._console.file.write("\n")

    def _text(self, result: StudyResult, done: int, concurrent: int) -> str:
        best = result.ranked[0] if result.ranked else None
        found = "no score yet"
        if best is not None and best.card is not None:
            found = f"best {best.card.objective} {best.card.value:.2f} ({best.name})"
        left = self._time_left(result, done, concurrent)
        return f"{done}/{self._num_trials} trials | {found} | {left}"

    def _time_left(self, result: StudyResult, done: int, concurrent: int) -> str:
        """From the mean length of the finished trials, less what the running ones have had."""
        if done >= self._num_trials:
            return "done"
        finished = [t.duration_s for t in result.trials if t.state != "RUNNING"]
        if not finished:
            return "time left unknown"
        running = [t.duration_s for t in result.trials if t.state == "RUNNING"]
        work = (self._num_trials - done) * sum(finished) / len(finished) - sum(running)
        seconds = max(0.0, work) / concurrent
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"

"""A study's figures and report, drawn anew while it runs.

A screen among others: it sees what the others show, and has all drawn by a background process,
for drawing takes seconds.
"""

import time

from diffrop.background import BackgroundCall, Outcome
from diffrop.engine.progress import PassingScreen, Progress, Render, Screen
from diffrop.record.launch_log import add_to_log
from diffrop.record.study_folder import StudyFolder

SHARE = 0.02
"""Of the driver's time at most that is spent on drawing."""
LONGEST_S = 1800.0
"""A drawing that has taken so long is given up."""


def next_drawing_at(began: float, cpu_s: float) -> float:
    """Return when the next drawing may begin, so that drawing has its share of the time at most.

    Args:
        began: when the last one did, in seconds of any clock.
        cpu_s: processor seconds that it took.
    """
    return began + cpu_s / SHARE


def has_results(progress: Progress) -> bool:
    """Whether there is something to draw: a trial has a score or has ended."""
    return any(t.state != "RUNNING" or t.score is not None for t in progress.trials)


class LiveReport(PassingScreen):
    """Another screen, whose study is also drawn now and then."""

    def __init__(self, screen: Screen, render: Render, folder: StudyFolder) -> None:
        """Show on `screen`, and draw into the study's folder with a function of a module."""
        super().__init__(screen)
        self._render, self._folder = render, folder
        self._call: BackgroundCall | None = None
        self._drawn: object = None
        """Where the study stood when it was drawn last."""
        self._due_at = 0.0
        self._closed = self._warned = False

    def show(self, progress: Progress) -> None:
        """Show; look after the drawing, which is never waited for."""
        super().show(progress)
        now = time.monotonic()
        if self._call is not None:
            late = now - self._call.began > LONGEST_S
            outcome = self._call.end() if late else self._call.poll()
            if outcome is not None:
                self._note(outcome, self._call.began, late)
        elif now >= self._due_at and progress.steps != self._drawn and has_results(progress):
            self._begin(progress, now)

    def close(self) -> None:
        """End a drawing that is not finished: what comes next is the study's last."""
        self._closed = True
        if self._call is not None:
            self._call.end()
            self._call = None
        super().close()

    def _begin(self, progress: Progress, now: float) -> None:
        if self._closed:
            return
        try:
            self._call = BackgroundCall(self._render, str(self._folder.path), progress.standing)
        except OSError as error:
            self._warn(str(error))
            self._due_at = next_drawing_at(now, 1.0)
        self._drawn = progress.steps

    def _note(self, outcome: Outcome, began: float, late: bool) -> None:
        self._call = None
        self._due_at = next_drawing_at(began, outcome.cpu_s)
        if late or outcome.fault:
            self._warn(outcome.fault or f"it took more than {LONGEST_S / 60:.0f} minutes")

    def _warn(self, why: str) -> None:
        """Tell of the first drawing of a launch that failed; the next may be luckier."""
        if not self._warned:
            words = f"warning: figures and report could not be drawn while the study runs: {why}"
            add_to_log(self._folder.log, [words])
        self._warned = True

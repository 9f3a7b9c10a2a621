"""A study's figures and report, drawn anew while it runs.

A screen among others: it sees what the others show, and has all drawn by a background process,
for drawing takes seconds. How far the study is takes milliseconds, and the page is told at once.
"""

import time

from diffrop.background import BackgroundCall, Outcome
from diffrop.engine.progress import Pages, PassingScreen, Progress, Screen
from diffrop.record.launch_log import add_to_log
from diffrop.record.study_folder import StudyFolder

SHARE = 0.02
"""Of the driver's time at most that is spent on drawing."""
FIRST_S = 20.0
"""Processor seconds that a launch's first drawing is expected to take; later ones, what the last
one took."""
STANDING_S = 20.0
"""Seconds after which the page is told anew how far the study is."""
LONGEST_S = 1800.0
"""A drawing that has taken so long is given up."""


def drawing_at(began: float, spent_s: float, expected_s: float) -> float:
    """Return when a drawing may begin, so that all together have their share of the time at most.

    Args:
        began: when the launch did, in seconds of any clock.
        spent_s: processor seconds that its drawings took so far.
        expected_s: that the next one will take; it is paid in advance.
    """
    return began + (spent_s + expected_s) / SHARE


def has_results(progress: Progress) -> bool:
    """Whether there is something to draw: a trial has a score or has ended."""
    return any(t.state != "RUNNING" or t.score is not None for t in progress.trials)


class LiveReport(PassingScreen):
    """Another screen, whose study is also drawn now and then."""

    def __init__(self, screen: Screen, pages: Pages, folder: StudyFolder) -> None:
        """Show on `screen`, and draw into the study's folder."""
        super().__init__(screen)
        self._pages, self._folder = pages, folder
        self._call: BackgroundCall | None = None
        self._drawn: object = None
        """Where the study stood when it was drawn last."""
        self._began = time.monotonic()
        self._spent_s, self._expected_s = 0.0, FIRST_S
        self._told_at = -STANDING_S
        self._closed = self._warned = False

    def show(self, progress: Progress) -> None:
        """Show; look after the drawing, which is never waited for."""
        super().show(progress)
        now = time.monotonic()
        if self._call is not None:
            late = now - self._call.began > LONGEST_S
            outcome = self._call.end() if late else self._call.poll()
            if outcome is not None:
                self._note(outcome, late)
        elif self._closed:
            return
        elif self._is_due(now) and progress.steps != self._drawn and has_results(progress):
            self._begin(progress)
        elif progress.trainings and now - self._told_at >= STANDING_S:
            self._tell(progress)
            self._told_at = now

    def close(self) -> None:
        """End a drawing that is not finished: what comes next is the study's last."""
        self._closed = True
        if self._call is not None:
            self._call.end()
            self._call = None
        super().close()

    def _is_due(self, now: float) -> bool:
        return now >= drawing_at(self._began, self._spent_s, self._expected_s)

    def _begin(self, progress: Progress) -> None:
        render = self._pages.render_study
        try:
            self._call = BackgroundCall(render, str(self._folder.path), progress.standing)
        except OSError as error:
            self._warn(str(error))
            self._spent_s += 1.0
        self._drawn = progress.steps

    def _note(self, outcome: Outcome, late: bool) -> None:
        self._call = None
        self._spent_s += outcome.cpu_s
        if late or outcome.fault:
            self._warn(outcome.fault or f"it took more than {LONGEST_S / 60:.0f} minutes")
        else:
            self._expected_s = outcome.cpu_s

    def _tell(self, progress: Progress) -> None:
        """Tell the page how far the study is, while no drawing is about to replace it."""
        try:
            self._pages.show_standing(self._folder.path, progress.standing, *progress.table)
        except OSError as error:
            self._warn(str(error))

    def _warn(self, why: str) -> None:
        """Tell of the first drawing of a launch that failed; the next may be luckier."""
        if not self._warned:
            words = f"warning: figures and report could not be drawn while the study runs: {why}"
            add_to_log(self._folder.log, [words])
        self._warned = True

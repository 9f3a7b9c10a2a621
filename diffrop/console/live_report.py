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
"""Processor seconds that must be there for a launch's first drawing."""
LEAST_S = 2.0
"""Processor seconds that must be there for any drawing."""
GROWTH = 2.0
"""For the next drawing there must be so many times what the last one took: it has more trials, and
one that was ended for want of more shall not be again."""
STANDING_S = 20.0
"""Seconds after which the page is told anew how far the study is."""
LONGEST_S = 1800.0
"""A drawing that has taken so long is given up."""


def allowance_s(elapsed_s: float, spent_s: float) -> float:
    """Return the processor seconds that a drawing may take, so that all have their share at most.

    Args:
        elapsed_s: seconds since the launch began.
        spent_s: processor seconds that its drawings took so far.
    """
    return SHARE * elapsed_s - spent_s


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
        self._spent_s, self._needed_s = 0.0, FIRST_S
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
        elif (
            (allowed_s := allowance_s(now - self._began, self._spent_s)) >= self._needed_s
            and progress.steps != self._drawn
            and has_results(progress)
        ):
            self._begin(progress, allowed_s)
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

    def _begin(self, progress: Progress, allowed_s: float) -> None:
        render, arguments = self._pages.render_study, (str(self._folder.path), progress.standing)
        try:
            self._call = BackgroundCall(render, *arguments, cpu_s=int(allowed_s))
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
            self._needed_s = max(LEAST_S, GROWTH * outcome.cpu_s)
        if outcome.used_up:
            self._drawn = None

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

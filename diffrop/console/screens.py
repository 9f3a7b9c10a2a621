"""What a study shows while it runs: a live table, plain lines, JSON lines, or nothing."""

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from diffrop.activity import activity_text, is_same
from diffrop.console.tables import number, plain_table
from diffrop.console.terminal import as_it_is
from diffrop.engine.progress import Progress, Screen, TrialProgress
from diffrop.printable import printable

View = Literal["lines", "quiet", "json"]

NARROW, MEDIUM = 56, 76
MOST_LINES = 8
"""Running trials that have a line each where there is no terminal."""


class QuietScreen(Screen):
    """Nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class _Now:
    """What is shown until there is something newer."""

    what: str
    share: float | None
    since: float

    @property
    def line(self) -> str:
        """What is done, how far it is, and for how long, at this moment."""
        return activity_text(self.what, self.share, time.monotonic() - self.since)


def _next(before: "_Now | None", what: str, share: float | None) -> _Now:
    same = before is not None and is_same(before.what, what)
    return _Now(what, share, before.since if before and same else time.monotonic())


class PlainScreen(Screen):
    """Lines without a terminal: sentences, trials that end, and what goes on once a minute."""

    def __init__(self, console: Console, first_s: float = 10.0, every_s: float = 60.0) -> None:
        """Print on a console.

        Args:
            console: where.
            first_s: of something new a line is printed after so many seconds without another.
            every_s: and of what is not new, after so many.
        """
        self._console, self._first_s, self._every_s = console, first_s, every_s
        self._ended: set[str] = set()
        self._lock = threading.Lock()
        self._printed_at = time.monotonic()
        self._now: _Now | None = None
        self._progress: Progress | None = None
        self._told = ""
        """What the newest line of what goes on was about."""
        self._over = threading.Event()
        self._clock: threading.Thread | None = None

    def show(self, progress: Progress) -> None:
        """Print a line for each trial that has ended since, and the study's line after them."""
        new = newly_ended(progress, self._ended)
        for trial in new:
            self._print(ended_line(trial, progress.objective))
        if new:
            self._print(progress.line)
        with self._lock:
            self._now, self._progress = None, progress
        self._watch()

    def working(self, what: str, share: float | None = None) -> None:
        """Print it if it takes long."""
        with self._lock:
            self._now, self._progress = _next(self._now, what, share), None
        self._watch()

    def say(self, sentence: str) -> None:
        """Print it."""
        self._print(sentence)

    def close(self) -> None:
        """Print no more of what goes on, until there is more."""
        self._over.set()
        if self._clock is not None:
            self._clock.join()
        with self._lock:
            self._clock = self._now = self._progress = None

    def _print(self, line: str) -> None:
        with self._lock:
            self._printed_at = time.monotonic()
            self._console.print(as_it_is(line), soft_wrap=True)

    def _watch(self) -> None:
        """Have somebody look at the clock: what goes on may call nobody for long."""
        if self._clock is None:
            self._over.clear()
            self._clock = threading.Thread(target=self._tick, name="screen", daemon=True)
            self._clock.start()

    def _tick(self) -> None:
        while not self._over.wait(min(1.0, self._first_s / 4)):
            with self._lock:
                about = self._now.what if self._now else "trials"
                told = is_same(about, self._told)
                limit = self._every_s if told else self._first_s
                if time.monotonic() - self._printed_at < limit:
                    continue
                self._told = about
                lines = [self._now.line] if self._now else _minute_lines(self._progress)
            for line in lines:
                self._print(line)


def _minute_lines(progress: Progress | None) -> list[str]:
    """Return the study in a line, and where its running trials are in others."""
    if progress is None:
        return []
    running = [trial for trial in progress.trainings if trial.state == "RUNNING"]
    shown = [_running_line(trial, progress) for trial in running[:MOST_LINES]]
    more = len(running) - MOST_LINES
    return [progress.line, *shown, *([f"and {more} more"] if more > 0 else [])]


def _running_line(trial: TrialProgress, progress: Progress) -> str:
    where = scoring_line(trial) or f"{trial.label} | {trial.images_seen / progress.images:.0%}"
    rate = "" if trial.scoring or trial.images_per_s is None else f", {trial.images_per_s:,.0f}/s"
    return f"{where}{rate}"


def scoring_line(trial: TrialProgress) -> str:
    """Return how far the score of a trial is, in one line; empty while nothing is scored."""
    return f"{trial.label} | {trial.scoring.text}" if trial.scoring else ""


class LiveScreen(Screen):
    """A table of the running trials, redrawn in place below whatever else is printed.

    It is redrawn every second, so that the seconds of what is being done go on.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ended: set[str] = set()
        self._line = ""
        self._now: _Now | None = None
        self._progress: Progress | None = None
        self._live = Live(
            console=console, refresh_per_second=1, transient=True, get_renderable=self._drawn
        )
        self._live.start()

    def show(self, progress: Progress) -> None:
        """Redraw; trials that have ended since are printed above."""
        for trial in newly_ended(progress, self._ended):
            line = as_it_is(ended_line(trial, progress.objective))
            self._live.console.print(line, soft_wrap=True)
        self._line, self._now, self._progress = progress.line, None, progress
        self._live.start()
        self._live.refresh()

    def working(self, what: str, share: float | None = None) -> None:
        """Redraw; the table gives way."""
        new = self._now is None or self._now.what != what
        self._now, self._progress = _next(self._now, what, share), None
        self._live.start()
        if new:
            self._live.refresh()

    def _drawn(self) -> Group:
        now, progress = self._now, self._progress
        if now is not None:
            return Group(_one_line(now.line))
        if progress is None:
            return Group()
        running = [trial for trial in progress.trainings if trial.state == "RUNNING"]
        scoring = [line for trial in running if (line := scoring_line(trial))]
        room = max(1, self._console.height - 4)
        table = running_table(running[:room], progress, self._console.width)
        more = [Text(f"and {len(running) - room} more")] if len(running) > room else []
        left = max(0, room - len(running))
        below = [_one_line(line) for line in (*scoring[:left], progress.line)]
        return Group(*([table] if running else []), *more, *below)

    def say(self, sentence: str) -> None:
        """Print it above the table."""
        self._live.console.print(as_it_is(sentence), soft_wrap=True)

    def close(self) -> None:
        """Take the table away and leave the line."""
        self._live.stop()
        if self._line:
            self._console.print(as_it_is(self._line), soft_wrap=True)
        self._line, self._now, self._progress = "", None, None


def _one_line(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")


class JsonScreen(Screen):
    """One JSON object a line: every trial whenever it has moved."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._closed = False
        self._shown: dict[str, TrialProgress] = {}
        self._working: tuple[str, float] = ("", 0.0)

    def show(self, progress: Progress) -> None:
        """Write what has changed."""
        for trial in progress.trainings:
            if self._shown.get(trial.label) != trial:
                self._shown[trial.label] = trial
                self._write({"event": "trial", **asdict(trial)})

    def working(self, what: str, share: float | None = None) -> None:
        """Write it when it begins, and every ten seconds."""
        before, at = self._working
        if not self._closed and (not is_same(what, before) or time.monotonic() - at >= 10):
            self._working = what, time.monotonic()
            self._write({"event": "working", "what": what, "share": share})

    def say(self, sentence: str) -> None:
        """Write it as an event, or after the results, which come last, to standard error."""
        if self._closed:
            print(sentence, file=sys.stderr)
        else:
            self._write({"event": "message", "message": sentence})

    def close(self) -> None:
        """Leave the last line to the results."""
        self._closed = True

    def _write(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps(event | {"time": time.time()}) + "\n")
        self._file.flush()


def newly_ended(progress: Progress, ended: set[str]) -> list[TrialProgress]:
    """Return the trainings that have ended and are not in `ended`, and add their labels to it."""
    new = [t for t in progress.trainings if t.state != "RUNNING" and t.label not in ended]
    ended.update(trial.label for trial in new)
    return new


def ended_line(trial: TrialProgress, objective: str) -> str:
    """Return how a trial ended, in one line."""
    found = "no score"
    if trial.score is not None:
        found = f"{objective} {trial.score:.2f} at N = {trial.num_samples:,}"
    why = f": {trial.message}" if trial.state == "FAIL" else ""
    name = f"{trial.name} (baseline)" if trial.form == "baseline" else trial.name
    return f"{name} | {trial.state} at {trial.images_seen:,} | {found}{why}"


def running_table(running: list[TrialProgress], progress: Progress, width: int) -> Table:
    """Return the running trials as a table, with fewer columns where the terminal is narrow."""
    table = plain_table()
    table.add_column("trial", no_wrap=True)
    table.add_column("form", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    if width >= NARROW:
        table.add_column("img/s", justify="right", no_wrap=True)
        table.add_column("loss", justify="right", no_wrap=True)
    if width >= MEDIUM:
        table.add_column("pcl/grad_ratio", justify="right", no_wrap=True)
    table.add_column(progress.objective, justify="right", no_wrap=True)
    for trial in running:
        cells = [trial.label, trial.form, f"{trial.images_seen / progress.images:.0%}"]
        if width >= NARROW:
            cells += [number(trial.images_per_s, ",.0f"), number(trial.loss, ".4f")]
        if width >= MEDIUM:
            cells.append(number(trial.grad_ratio, ".3g"))
        counted = f" (N {trial.num_samples:,})" if trial.num_samples and width >= MEDIUM else ""
        table.add_row(*cells, number(trial.score, ".2f") + counted)
    return table


def open_screen(view: View, console: Console) -> Screen:
    """Return the screen of a view: for `lines`, live on a terminal and plain elsewhere."""
    if view == "json":
        return JsonScreen()
    if view == "quiet" or console.quiet:
        return QuietScreen()
    return LiveScreen(console) if console.is_terminal else PlainScreen(console)

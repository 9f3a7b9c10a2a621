"""What a study shows while it runs: a live table, plain lines, JSON lines, or nothing."""

import json
import sys
import time
from dataclasses import asdict
from typing import Any, Literal, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from diffrop.console.tables import number, plain_table
from diffrop.console.terminal import as_it_is
from diffrop.engine.progress import Progress, Screen, TrialProgress
from diffrop.printable import printable

View = Literal["lines", "quiet", "json"]

NARROW, MEDIUM = 56, 76


class QuietScreen(Screen):
    """Nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""


class PlainScreen(Screen):
    """Lines without a terminal: one for each trial that ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ended: set[str] = set()

    def show(self, progress: Progress) -> None:
        """Print a line for each trial that has ended since, and the study's line after them."""
        new = newly_ended(progress, self._ended)
        for trial in new:
            self._console.print(as_it_is(ended_line(trial, progress.objective)), soft_wrap=True)
        if new:
            self._console.print(as_it_is(progress.line), soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print it."""
        self._console.print(as_it_is(sentence), soft_wrap=True)


class LiveScreen(Screen):
    """A table of the running trials, redrawn in place below whatever else is printed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._ended: set[str] = set()
        self._line = ""
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, progress: Progress) -> None:
        """Redraw; trials that have ended since are printed above."""
        for trial in newly_ended(progress, self._ended):
            line = as_it_is(ended_line(trial, progress.objective))
            self._live.console.print(line, soft_wrap=True)
        self._line = progress.line
        running = [trial for trial in progress.trainings if trial.state == "RUNNING"]
        room = max(1, self._console.height - 4)
        table = running_table(running[:room], progress, self._console.width)
        more = [Text(f"and {len(running) - room} more")] if len(running) > room else []
        line = Text(printable(self._line), no_wrap=True, overflow="ellipsis")
        self._live.update(Group(*([table] if running else []), *more, line), refresh=True)

    def say(self, sentence: str) -> None:
        """Print it above the table."""
        self._live.console.print(as_it_is(sentence), soft_wrap=True)

    def close(self) -> None:
        """Take the table away and leave the line."""
        self._live.stop()
        if self._line:
            self._console.print(as_it_is(self._line), soft_wrap=True)
            self._line = ""


class JsonScreen(Screen):
    """One JSON object a line: every trial whenever it has moved."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._closed = False
        self._shown: dict[str, TrialProgress] = {}

    def show(self, progress: Progress) -> None:
        """Write what has changed."""
        for trial in progress.trainings:
            if self._shown.get(trial.label) != trial:
                self._shown[trial.label] = trial
                self._write({"event": "trial", **asdict(trial)})

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

"""What a study shows while it runs: a live table, plain lines, JSON lines, or nothing."""

import json
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from diffrop.search.results import StudyResult, TrialResult
from diffrop.search.trial import newest_row
from diffrop.tracking.files import label_of

View = Literal["lines", "quiet", "json"]
NARROW, MEDIUM = 56, 76
TIME_LEFT_UNKNOWN = "time left unknown"


@dataclass(frozen=True, kw_only=True)
class TrialProgress:
    """Where a trial stands; None where nothing was measured yet."""

    number: int
    name: str
    form: str
    state: str
    images_seen: int
    images_per_s: float | None
    loss: float | None
    """loss/ddpm over the newest stretch of training."""
    grad_ratio: float | None
    """pcl/grad_ratio of the newest stretch in which it was measured."""
    score: float | None
    """The objective at the newest rung, on that rung's N."""
    num_samples: int | None
    message: str
    seed: int | None = None
    """Which of the fresh seeds, if it is a retraining that confirms the trial."""

    @property
    def label(self) -> str:
        """Its short name: t007, or t007-s1 for the retraining with seed 1."""
        return label_of(self.number, self.seed)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a study stands."""

    study: str
    num_trials: int
    num_ended: int
    images: int
    """Of a full training."""
    objective: str
    best: TrialProgress | None
    """The leader of the ranked trials."""
    seconds_left: float | None
    trials: list[TrialProgress]
    retrainings: list[TrialProgress] = field(default_factory=list)
    """Of those that confirm the leaders at present, the ones that have begun."""
    num_retrainings: int = 0
    """How many confirm the leaders at present."""

    @property
    def trainings(self) -> list[TrialProgress]:
        """Trials and retrainings."""
        return [*self.trials, *self.retrainings]

    @property
    def line(self) -> str:
        """The study in one line."""
        found = "no score yet"
        if self.best is not None and self.best.score is not None:
            found = f"best {self.objective} {self.best.score:.2f} ({self.best.name})"
        return f"{self.num_ended}/{self.num_trials} trials | {found} | {self._time_left()}"

    def _time_left(self) -> str:
        if self.num_retrainings:
            ended = sum(trial.state != "RUNNING" for trial in self.retrainings)
            return f"{ended}/{self.num_retrainings} retrainings"
        if self.num_ended >= self.num_trials:
            return "done"
        if self.seconds_left is None:
            return TIME_LEFT_UNKNOWN
        if self.seconds_left < 90:
            return f"{self.seconds_left:.0f} s left"
        if self.seconds_left < 5400:
            return f"{self.seconds_left / 60:.0f} min left"
        return f"{self.seconds_left / 3600:.1f} h left"


def progress_of(
    result: StudyResult,
    concurrent: int,
    retrainings: Sequence[TrialResult] = (),
    num_retrainings: int = 0,
) -> Progress:
    """Return where a study stands.

    Args:
        result: its trials.
        concurrent: trials at a time.
        retrainings: those that confirm the leaders at present and have begun.
        num_retrainings: how many there are of them, those that have not begun included.
    """
    leader = result.ranked[0] if result.ranked else None
    config = result.config
    return Progress(
        study=config.name,
        num_trials=config.num_trials,
        num_ended=sum(trial.state != "RUNNING" for trial in result.trials),
        images=config.rungs[-1].images,
        objective=config.experiment.evaluation.objective,
        best=trial_progress(leader) if leader else None,
        seconds_left=_seconds_left(result, concurrent),
        trials=[trial_progress(trial) for trial in result.trials],
        retrainings=[trial_progress(trial) for trial in retrainings],
        num_retrainings=num_retrainings,
    )


def trial_progress(trial: TrialResult) -> TrialProgress:
    """Return where a trial stands, from its scores and, while it runs, its newest curve row."""
    card = trial.card
    row = newest_row(trial.directory) if trial.state == "RUNNING" else {}
    return TrialProgress(
        number=trial.number,
        name=trial.name,
        form="baseline" if trial.number == 0 else trial.form,
        state=trial.state,
        images_seen=int(row.get("images_seen") or (card.images_seen if card else 0)),
        images_per_s=row.get("images_per_s"),
        loss=row.get("loss/ddpm"),
        grad_ratio=row.get("pcl/grad_ratio"),
        score=card.value if card else None,
        num_samples=card.num_samples["all"] if card else None,
        message=trial.message,
        seed=trial.seed,
    )


def _seconds_left(result: StudyResult, concurrent: int) -> float | None:
    """From the mean length of the ended trials, less what the running ones have had."""
    ended = [t.duration_s for t in result.trials if t.state != "RUNNING"]
    if not ended:
        return None
    running = [t.duration_s for t in result.trials if t.state == "RUNNING"]
    missing = max(0, result.config.num_trials - len(ended))
    work = missing * sum(ended) / len(ended) - sum(running)
    return max(0.0, work) / concurrent


class Screen(ABC):
    """Where progress goes."""

    @abstractmethod
    def show(self, progress: Progress) -> None:
        """Show where the study stands now."""

    def say(self, sentence: str) -> None:  # noqa: B027 - a screen may have no place for it
        """Show a sentence, such as the name of the next stage."""

    def close(self) -> None:  # noqa: B027 - nothing to tidy up, by default
        """Leave the last state behind."""


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
            self._console.print(ended_line(trial, progress.objective), soft_wrap=True)
        if new:
            self._console.print(progress.line, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print it."""
        self._console.print(sentence, soft_wrap=True)


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
            self._live.console.print(ended_line(trial, progress.objective), soft_wrap=True)
        self._line = progress.line
        running = [trial for trial in progress.trainings if trial.state == "RUNNING"]
        room = max(1, self._console.height - 4)
        table = running_table(running[:room], progress, self._console.width)
        more = [Text(f"and {len(running) - room} more")] if len(running) > room else []
        line = Text(self._line, no_wrap=True, overflow="ellipsis")
        self._live.update(Group(*([table] if running else []), *more, line), refresh=True)

    def say(self, sentence: str) -> None:
        """Print it above the table."""
        self._live.console.print(sentence, soft_wrap=True)

    def close(self) -> None:
        """Take the table away and leave the line."""
        self._live.stop()
        if self._line:
            self._console.print(self._line, soft_wrap=True)
            self._line = ""


class JsonScreen(Screen):
    """One JSON object a line: every trial whenever it has moved."""

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._shown: dict[str, TrialProgress] = {}

    def show(self, progress: Progress) -> None:
        """Write what has changed."""
        for trial in progress.trainings:
            if self._shown.get(trial.label) != trial:
                self._shown[trial.label] = trial
                self._write({"event": "trial", **asdict(trial)})

    def say(self, sentence: str) -> None:
        """Write it as an event."""
        self._write({"event": "message", "message": sentence})

    def _write(self, event: dict[str, Any]) -> None:
        print(json.dumps(event | {"time": time.time()}), file=self._file, flush=True)


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
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
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


def number(value: float | None, form: str) -> str:
    """Return a number as text, "-" for none."""
    return "-" if value is None else format(value, form)


def open_screen(view: View, console: Console) -> Screen:
    """Return the screen of a view: for `lines`, live on a terminal and plain elsewhere."""
    if view == "json":
        return JsonScreen()
    if view == "quiet" or console.quiet:
        return QuietScreen()
    return LiveScreen(console) if console.is_terminal else PlainScreen(console)

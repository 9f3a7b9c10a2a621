"""Where a study stands while it runs, and the interface of what shows it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from diffrop.activity import time_text
from diffrop.metrics.protocol import MIN_SHOWN
from diffrop.record.names import trial_label
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.score_card import ScoreCard
from diffrop.record.scoring_now import ScoringNow
from diffrop.record.trial_folder import TrialFolder
from diffrop.study.config import StudyConfig

TIME_LEFT_UNKNOWN = "time left unknown"

Render = Callable[[Path, str], list[Path]]
"""Draws figures and report from a study's folder; returns the files. The text says how far a
study is that still runs, and is empty once it has ended."""


class Pages(Protocol):
    """What a study shows of itself in its folder; a module with these functions is one."""

    def render_study(self, study_dir: Path, standing: str) -> list[Path]:
        """See `Render`; others call it by its module's name."""

    def study_answer(self, study_dir: Path) -> str:
        """Return what the study found, in a sentence."""

    def show_standing(
        self,
        study_dir: Path,
        standing: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
    ) -> None:
        """Have the report say how far the study is; OSError if it cannot be written."""


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
    """loss/ddpm over the newest logged interval."""
    grad_ratio: float | None
    """pcl/grad_ratio of the newest interval in which it was measured."""
    score: float | None
    """The objective at the newest rung, on that rung's N."""
    num_samples: int | None
    """Behind that very score: of a shot group's, the samples of the group."""
    message: str
    seed: int | None = None
    """Which of the fresh seeds, if it is a retraining that confirms the trial."""

    scoring: ScoringNow | None = None
    """How far its score is, while it is scored."""

    @property
    def has_telling_score(self) -> bool:
        """Whether it has a score, of enough samples or of as many as the study asked for."""
        few = self.num_samples is not None and self.num_samples < MIN_SHOWN
        return self.score is not None and not (few and self.state == "RUNNING")

    @property
    def label(self) -> str:
        """Its short name: t007, or t007-s1 for the retraining with seed 1."""
        return trial_label(self.number, self.seed)


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
    nothing_learned: bool = False
    """Whether there are ranked trials, and none of them can be called the best."""
    seconds_left: float | None
    trials: list[TrialProgress]
    retrainings: list[TrialProgress] = field(default_factory=list)
    """Of those that confirm the leaders at present, the ones that have begun."""
    num_retrainings: int = 0
    """How many confirm the leaders at present."""
    budget_spent: float = 0.0
    """Share of the launch's budget; 0 without one."""

    @property
    def trainings(self) -> list[TrialProgress]:
        """Trials and retrainings."""
        return [*self.trials, *self.retrainings]

    @property
    def steps(self) -> list[tuple[str, str, int, float | None]]:
        """What is another whenever images were trained, something was scored, a trial ended."""
        return [(t.label, t.state, t.images_seen, t.score) for t in self.trainings]

    @property
    def standing(self) -> str:
        """How far the study is, in a sentence without its full stop."""
        running = sum(trial.state == "RUNNING" for trial in self.trainings)
        done = f"{self.num_ended} of {self.num_trials} trials done, {running} running"
        return f"{done}; {self._time_left()}"

    @property
    def table(self) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Heads and rows of a table of the trials, by number, as texts.

        A rung's score on fewer than `MIN_SHOWN` samples is left out: it tells of their number.
        """
        rows = [
            (
                training.name,
                training.state.lower(),
                f"{training.images_seen:,}",
                f"{training.score:.2f}" if training.has_telling_score else "-",
                "-" if training.num_samples is None else f"{training.num_samples:,}",
            )
            for training in self.trainings
        ]
        return ("trial", "state", "images", self.objective, "N"), rows

    @property
    def line(self) -> str:
        """The study in one line."""
        found = "no best can be named" if self.nothing_learned else "no score yet"
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
        return f"{time_text(self.seconds_left)} left"


def progress_of(
    result: StudyResult,
    concurrent: int,
    retrainings: Sequence[TrialResult] = (),
    num_retrainings: int = 0,
    budget_spent: float = 0.0,
) -> Progress:
    """Return where a study stands.

    Args:
        result: its trials.
        concurrent: trials at a time.
        retrainings: those that confirm the leaders at present and have begun.
        num_retrainings: how many there are of them, those that have not begun included.
        budget_spent: share of the launch's budget.
    """
    doubtful = bool(result.ranked and result.nothing_learned)
    leader = result.ranked[0] if result.ranked and not doubtful else None
    config = result.config
    trials = [trial_progress(trial, config) for trial in result.trials]
    running = [trial for trial in trials if trial.state == "RUNNING"]
    return Progress(
        study=config.name,
        num_trials=config.num_trials,
        num_ended=sum(trial.state != "RUNNING" for trial in result.trials),
        images=config.rungs[-1].images,
        objective=config.experiment.evaluation.objective,
        best=trial_progress(leader, config) if leader else None,
        nothing_learned=doubtful,
        seconds_left=_seconds_left(result, running, concurrent),
        trials=trials,
        retrainings=[trial_progress(trial, config) for trial in retrainings],
        num_retrainings=num_retrainings,
        budget_spent=budget_spent,
    )


def trial_progress(trial: TrialResult, config: StudyConfig) -> TrialProgress:
    """Return where a trial stands, from its scores and, while it runs, its newest curve row."""
    card, row, scoring = trial.card, {}, None
    if trial.state == "RUNNING":
        scoring = TrialFolder(trial.directory).scoring()
        every, end = config.experiment.training.log_every_images, config.rungs[-1].images
        row = TrialFolder(trial.directory).training().newest_row(every, end)
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
        num_samples=_num_samples(card) if card else None,
        message=trial.message,
        seed=trial.seed,
        scoring=scoring,
    )


def _num_samples(card: ScoreCard) -> int:
    group = card.objective.rpartition("/")[2]
    return card.num_samples.get(group, card.num_samples["all"])


def _seconds_left(
    result: StudyResult, running: Sequence[TrialProgress], concurrent: int
) -> float | None:
    """From the mean length of the ended trials, and how far the running ones are.

    None where none has ended, or nothing is left but trials that run for longer than that and do
    not say how far they are.
    """
    ended = [t.duration_s for t in result.trials if t.state != "RUNNING"]
    if not ended:
        return None
    mean, last = sum(ended) / len(ended), result.config.rungs[-1].images
    had = {t.number: t.duration_s for t in result.trials}
    left = 0.0
    for trial in running:
        own, scoring = None, trial.scoring
        if scoring is not None and scoring.images_seen >= last:
            own = scoring.seconds_left
        left += max(0.0, mean - had[trial.number]) if own is None else own
    begun = len(ended) + len(running)
    left += max(0, result.config.num_trials - begun) * mean
    return left / concurrent if left else None


class Screen(ABC):
    """Where progress goes."""

    @abstractmethod
    def show(self, progress: Progress) -> None:
        """Show where the study stands now."""

    def working(self, what: str, share: float | None = None) -> None:  # noqa: B027 - likewise
        """Show what is being done where no trial runs: before them, between them, after them.

        Args:
            what: in words.
            share: how far it is, 0 to 1; None where that is unknown.
        """

    def say(self, sentence: str) -> None:  # noqa: B027 - a screen may have no place for it
        """Show a sentence, such as the name of the next stage."""

    def close(self) -> None:  # noqa: B027 - nothing to tidy up, by default
        """Leave the last state behind."""


class PassingScreen(Screen):
    """Shows on another screen; those that do something besides derive from it."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def show(self, progress: Progress) -> None:
        """Show where the study stands."""
        self._screen.show(progress)

    def working(self, what: str, share: float | None = None) -> None:
        """Show what is being done."""
        self._screen.working(what, share)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self._screen.say(sentence)

    def close(self) -> None:
        """Leave the last state behind."""
        self._screen.close()

"""Confirmation: the leaders of a study trained again with fresh seeds, beside the baseline.

A search picks its leader by the very noise that it was scored with, so that the leader looks
better than it is. Here leaders and baseline are trained to their end on seeds that the search
never used, of the training and of the samples, with omega, sampler and average fixed as the search
found them. A leader and the baseline share each seed, so that differences are paired by seed.

`diffrop.confirmation.assessment` makes of the scores what is said; here is what is trained.
"""

import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffrop.config import ExperimentConfig
from diffrop.confirmation.spending import RULES, SPENDING, look_levels
from diffrop.errors import StudyError
from diffrop.execution.trial import TrialTask
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.names import trial_label
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.score_card import ScoreCard
from diffrop.record.trial_folder import TrainingFailure, TrialFolder
from diffrop.scoring.score import sampler_name
from diffrop.seeds import CONFIRMED_SAMPLES, CONFIRMED_TRAINING, derive_seed
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import fixed_choice

ALPHA = 0.05


MAX_SEEDS = 3
"""Seeds of a near-tie, as a multiple of those that were asked for."""


BASELINE = 0


Key = tuple[int, int]
"""Of a point: the trial's number, and which of the fresh seeds."""


Cards = Mapping[Key, ScoreCard | None]
"""What is known of the points that have ended; None for one that failed."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A trial that is trained again: the baseline or a leader."""

    number: int
    name: str
    values: Mapping[str, Any]
    """The searched keys."""
    omega: float
    sampler: str
    """Sampler, steps and average, as in the trial's scores."""
    inherited: bool = False
    """Whether its weights came from another trial's in the search (PBT)."""

    @classmethod
    def of(cls, trial: TrialResult, inherited: bool = False) -> "Candidate":
        """Take up a trial at the sampling choice of its last score."""
        assert trial.card is not None  # only trials with a full score are confirmed
        return cls(
            number=trial.number,
            name=trial.name,
            values=trial.values,
            omega=trial.card.omega,
            sampler=trial.card.sampler,
            inherited=inherited,
        )


@dataclass(frozen=True, kw_only=True)
class ConfirmPoint:
    """One training of a confirmation."""

    number: int
    seed: int
    """Which of the fresh seeds: 0, 1, ..."""
    config: ExperimentConfig
    rung: Rung
    """The only one: full images, samples and steps."""

    @property
    def key(self) -> Key:
        """Trial and seed."""
        return self.number, self.seed

    @property
    def name(self) -> str:
        """Of its folder in `confirm/`."""
        return trial_label(self.number, self.seed)


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What is confirmed and how; fixed before the first of its trainings."""

    study: StudyConfig
    baseline: Candidate
    leaders: tuple[Candidate, ...]
    num_seeds: int
    """Of every candidate."""
    max_seeds: int
    """Of a leader that stays a near-tie."""
    alpha: float = ALPHA
    spending: str = SPENDING
    """How alpha is spent over the looks at a near-tie: one of `spending.RULES`."""

    @property
    def conditional_on_prefix(self) -> bool:
        """Whether all trainings start from the same weights, which no seed here changes.

        A fork from `baseline@IMAGES` does not: its prefix is the baseline's with the same fresh
        seed, and trained once for each.
        """
        fork = self.study.fork_from
        imported = fork is not None and not fork.startswith("baseline@")
        return imported or self.study.experiment.training.init_from is not None

    @property
    def objectives(self) -> tuple[str, ...]:
        """What the candidates are compared by; the first decides."""
        return self.study.experiment.evaluation.objectives

    def points(
        self, seeds: Iterable[int] | None = None, known: Container[Key] = ()
    ) -> Iterator[ConfirmPoint]:
        """Yield what is trained, the baseline first with each seed, for it may be a fork's prefix.

        Args:
            seeds: which of them; None stands for the number that every candidate gets.
            known: those that are passed over.
        """
        for seed in range(self.num_seeds) if seeds is None else seeds:
            for candidate in (self.baseline, *self.leaders):
                if (candidate.number, seed) not in known:
                    yield self.point(candidate, seed)

    def point(self, candidate: Candidate, seed: int) -> ConfirmPoint:
        """Return one training: a trial's configuration with a fresh seed."""
        config = self.study.experiment.with_values(candidate.values)
        training, samples = fresh_seeds(self.study, seed)
        fixed = fixed_choice(config, candidate.omega, candidate.sampler)
        seeded = fixed.with_values({"training.seed": training, "evaluation.seed": samples})
        final = self.study.rungs[-1]
        return ConfirmPoint(number=candidate.number, seed=seed, config=seeded, rung=final)

    def level(self, num_seeds: int) -> float:
        """Return the error that one interval over so many seeds may have.

        Every leader and objective has a share of alpha (Bonferroni), which is spent over the looks
        at S, S + 1, ... seeds, so that stopping at the first success keeps the whole below alpha.

        Args:
            num_seeds: at least those that every candidate gets.
        """
        share = self.alpha / (len(self.leaders) * len(self.objectives))
        levels = look_levels(self.spending, share, self.num_seeds, self.max_seeds)
        return levels[min(num_seeds, self.max_seeds) - self.num_seeds]


def plan_confirmation(
    study: StudyConfig,
    launch: LaunchConfig,
    baseline: Candidate,
    leaders: Sequence[Candidate],
    before: ConfirmationRecord | None = None,
) -> Confirmation:
    """Return what a study's launch confirms.

    Only a launch with a budget gives near-ties further seeds, for nothing else would end them.

    Args:
        study: the study.
        launch: how many seeds, and whether there is a budget.
        baseline: trial 0.
        leaders: the best first.
        before: an earlier confirm.json of the study: with the same number of seeds it goes on
            under the rule that it began with, for its intervals are not valid under another.

    Raises:
        StudyError: this version does not know the rule that it began with.
    """
    bounded = launch.budget_gpu_hours is not None or launch.budget_wall_s is not None
    first = launch.confirm_seeds
    begun = Confirmation(
        study=study,
        baseline=baseline,
        leaders=tuple(leaders),
        num_seeds=first,
        max_seeds=first * MAX_SEEDS if bounded else first,
    )
    if before is None or before.num_seeds != first:
        return begun
    if before.spending not in RULES:
        raise StudyError(
            f"the confirmation of study {study.name} spends alpha by the rule "
            f"{before.spending!r}; allowed: {', '.join(sorted(RULES))}. To fix: resume it with "
            "the version of DiffROP that began it"
        )
    return replace(begun, max_seeds=before.max_seeds, alpha=before.alpha, spending=before.spending)


def fresh_seeds(study: StudyConfig, index: int) -> tuple[int, int]:
    """Return the training's and the samples' seed number `index`, which the search never used."""
    base = study.experiment
    parameter = next((p for p in study.space.parameters if p.name == "training.seed"), None)

    def used(seed: int) -> bool:
        if parameter is None:
            return seed == base.training.seed
        if parameter.choices is not None:
            return seed in parameter.choices
        return float(parameter.low or 0) <= seed <= float(parameter.high or 0)

    training = _draw(base.training.seed, CONFIRMED_TRAINING, index, used)
    samples = _draw(
        base.evaluation.seed, CONFIRMED_SAMPLES, index, lambda s: s == base.evaluation.seed
    )
    return training, samples


def _draw(seed: int, use: int, index: int, used: Callable[[int], bool]) -> int:
    """Return a 31-bit seed; one that is in use is drawn again."""
    drawn = (derive_seed(seed, use, index, attempt) >> 32 for attempt in itertools.count())
    return next(found for found in drawn if not used(found))


def read_cards(
    confirmation: Confirmation, task_of: Callable[[ConfirmPoint], TrialTask]
) -> dict[Key, ScoreCard | None]:
    """Return what has ended of a confirmation, in whatever launch it was trained.

    Args:
        confirmation: its candidates; a score at another sampling choice or N does not count.
        task_of: makes the task of a point; what another training (the number of workers may change
            between launches) gave does not count.
    """
    found: dict[Key, ScoreCard | None] = {}
    for point in confirmation.points(range(confirmation.max_seeds)):
        task = task_of(point)
        folder, same = task.folder, task.folder.training_key() == task.key
        (omega,) = point.config.evaluation.guidance_scales
        full = point.config.evaluation.num_samples
        for card in folder.scores():
            alike = card.omega == omega and card.num_samples["all"] == full
            if same and card.final and alike and card.sampler == sampler_name(point.config):
                found[point.key] = card
        failure = folder.failure()
        if point.key not in found and failure is not None and failure.key == task.key:
            found[point.key] = None
    return found


def record_failure(task: TrialTask, message: str) -> None:
    """Write down that a confirmation's training failed for good."""
    task.folder.record_failure(TrainingFailure(message, task.key))


def retrainings(folders: Iterable[TrialFolder], result: StudyResult) -> list[TrialResult]:
    """Return how trainings of a confirmation stand, each as a trial with a fresh seed.

    Args:
        folders: theirs, such as confirm/t003-s1; one that does not exist has not begun.
        result: the trials that are confirmed.
    """
    found = []
    for folder in folders:
        if not folder.path.exists():
            continue
        trial = result.trials[folder.number]
        card = next((card for card in folder.scores() if card.final), None)
        failure = folder.failure() if card is None else None
        found.append(
            TrialResult(
                number=trial.number,
                seed=folder.seed,
                state="COMPLETE" if card else "FAIL" if failure else "RUNNING",
                values=trial.values,
                directory=folder.path,
                card=card,
                duration_s=0.0,
                message=failure.message if failure else "",
            )
        )
    return found


def missing_points(confirmation: Confirmation, cards: Cards) -> list[ConfirmPoint]:
    """Return the trainings that every candidate needs and that have not ended."""
    return list(confirmation.points(known=cards))

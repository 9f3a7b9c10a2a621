"""What a confirmation says: paired differences over seeds, their intervals, and a best or none.

Intervals are Student's t over the seeds, hence over trainings and samples at once. They hold
together: alpha is divided by the number of leaders and of objectives (Bonferroni), and, where
near-ties may get further seeds, spent over the looks at a growing number of seeds (`spending`).
Lower scores are better.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.stats

from diffrop.confirmation.plan import (
    BASELINE,
    Candidate,
    Cards,
    Confirmation,
    ConfirmPoint,
    missing_points,
)
from diffrop.constraints import violations
from diffrop.record.confirmation import (
    Look,
)
from diffrop.record.score_card import ScoreCard


def t_interval(differences: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, low and high of differences (..., S) over their last axis.

    Args:
        differences: at least two, taken as normal and independent over S.
        level: the chance of missing the expected difference, two-sided.
    """
    count = differences.shape[-1]
    mean = differences.mean(axis=-1)
    error = differences.std(axis=-1, ddof=1) / count**0.5
    width = scipy.stats.t.ppf(1 - level / 2, count - 1) * error
    return mean, mean - width, mean + width


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A leader's score less the baseline's on the same seeds, look by look."""

    by_seed: tuple[float, ...]
    looks: tuple[Look, ...]
    """The last one is of all seeds."""

    @property
    def mean(self) -> float:
        """Of all seeds."""
        return self.looks[-1].mean

    @property
    def better(self) -> bool:
        """Whether all of the interval lies below 0."""
        return self.looks[-1].high < 0

    @property
    def worse(self) -> bool:
        """Whether all of the interval lies above 0."""
        return self.looks[-1].low > 0

    def __str__(self) -> str:
        """Return mean and interval."""
        return str(self.looks[-1])


@dataclass(frozen=True, kw_only=True)
class LeaderAssessment:
    """What fresh seeds say of one leader."""

    candidate: Candidate
    seeds: tuple[int, ...]
    """Those at which it and the baseline were both scored."""
    num_failed: int
    """Its trainings that failed; what they would have scored nobody knows."""
    differences: Mapping[str, Difference]
    """By objective; none before two seeds, and before all candidates have had all of theirs."""
    values: tuple[float, ...]
    """The first objective, by seed."""
    sample_intervals: tuple[tuple[float, float] | None, ...]
    """Of each value over samples, within its seed: for information, no part of the conclusion."""
    broken: Mapping[str, float]
    """By constraint: the mean over seeds of the share of the bound by which it is exceeded; 0 or
    less where it is kept."""
    num_kept: Mapping[str, int]
    """By constraint: at how many of the seeds it is kept."""

    @property
    def keeps(self) -> bool:
        """Whether it keeps every constraint, in the mean over seeds."""
        return all(excess <= 0 for excess in self.broken.values())


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What a confirmation says."""

    confirmation: Confirmation
    leaders: tuple[LeaderAssessment, ...]
    baseline_values: Mapping[int, float]
    """The first objective, by seed."""
    num_samples: int | None
    num_missing: int
    """Trainings that every candidate needs and that have not ended; nothing is judged before."""

    @property
    def eligible(self) -> list[tuple[LeaderAssessment, Difference]]:
        """The feasible leaders that never failed, the least mean of the first objective first.

        Each comes with its difference in that objective; nobody is eligible before it is judged.
        """
        first = self.confirmation.objectives[0]
        found = [
            (leader, leader.differences[first])
            for leader in self.leaders
            if not leader.num_failed and leader.keeps and first in leader.differences
        ]
        return sorted(found, key=lambda pair: pair[1].mean)

    @property
    def best(self) -> LeaderAssessment | None:
        """The leader with the least mean of the eligible ones that are better."""
        return next((leader for leader, found in self.eligible if found.better), None)


def assess(confirmation: Confirmation, cards: Cards) -> Assessment:
    """Return what the scores so far say.

    Args:
        confirmation: what was to be confirmed.
        cards: as `read_cards` gives them.
    """
    first = confirmation.objectives[0]
    baseline = _scored(cards, BASELINE)
    num_missing = len(missing_points(confirmation, cards))
    leaders = tuple(
        _judge(confirmation, leader, cards, judged=num_missing == 0)  # a look costs alpha
        for leader in confirmation.leaders
    )
    counts = [card.num_samples["all"] for card in cards.values() if card is not None]
    return Assessment(
        confirmation=confirmation,
        leaders=leaders,
        baseline_values={seed: card.scores[first] for seed, card in baseline.items()},
        num_samples=counts[0] if counts else None,
        num_missing=num_missing,
    )


def _scored(cards: Cards, number: int) -> dict[int, ScoreCard]:
    """Return a candidate's scores by seed."""
    return {
        seed: card
        for (n, seed), card in sorted(cards.items(), key=lambda item: item[0])
        if n == number and card is not None
    }


def _judge(
    confirmation: Confirmation, leader: Candidate, cards: Cards, judged: bool
) -> LeaderAssessment:
    ours, theirs = _scored(cards, leader.number), _scored(cards, BASELINE)
    seeds = tuple(seed for seed in ours if seed in theirs)
    pairs = [(ours[seed], theirs[seed]) for seed in seeds]
    first = confirmation.objectives[0]
    differences = {}
    for objective in confirmation.objectives if judged and len(seeds) > 1 else ():
        by_seed = {
            seed: ours[seed].scores[objective] - theirs[seed].scores[objective] for seed in seeds
        }
        looks = _looks(confirmation, by_seed, _tried(cards, leader))
        differences[objective] = Difference(by_seed=tuple(by_seed.values()), looks=looks)
    constraints = confirmation.study.experiment.evaluation.parsed_constraints
    excess = np.array([violations(a.scores, b.scores, constraints) for a, b in pairs])
    ends = (card.intervals.get(first) for card, _ in pairs)
    texts = [constraint.text for constraint in constraints] if pairs else []
    return LeaderAssessment(
        candidate=leader,
        seeds=seeds,
        num_failed=sum(n == leader.number and card is None for (n, _), card in cards.items()),
        differences=differences,
        values=tuple(card.scores[first] for card, _ in pairs),
        sample_intervals=tuple((end.low, end.high) if end else None for end in ends),
        broken={text: float(excess[:, i].mean()) for i, text in enumerate(texts)},
        num_kept={text: int((excess[:, i] <= 0).sum()) for i, text in enumerate(texts)},
    )


def _looks(
    confirmation: Confirmation, by_seed: Mapping[int, float], num_tried: int
) -> tuple[Look, ...]:
    """Return what was known of a leader's differences whenever it had had one more seed.

    Args:
        confirmation: says how alpha is spent.
        by_seed: the differences; a seed at which either training failed has none.
        num_tried: seeds that the leader has had.
    """
    looks = []
    for tried in range(confirmation.num_seeds, num_tried + 1):
        known = np.array([value for seed, value in by_seed.items() if seed < tried])
        if len(known) < 2:
            continue
        level = confirmation.level(tried)
        mean, low, high = (float(x) for x in t_interval(known, level))
        looks.append(Look(num_seeds=len(known), mean=mean, low=low, high=high, level=level))
    return tuple(looks)


def next_points(assessment: Assessment, cards: Cards) -> list[ConfirmPoint]:
    """Return the trainings of one more seed for the nearest tie; none once all is decided.

    That is the leader with the least mean below 0 of those whose interval holds 0. The baseline
    gets the same seed, unless it has it already.
    """
    confirmation = assessment.confirmation
    if assessment.best is not None:
        return []
    ties = (
        leader.candidate
        for leader, found in assessment.eligible
        if found.mean < 0
        and not found.better
        and _tried(cards, leader.candidate) < confirmation.max_seeds
    )
    leader = next(ties, None)
    if leader is None:
        return []
    seed = _tried(cards, leader)
    points = [confirmation.point(one, seed) for one in (confirmation.baseline, leader)]
    return [point for point in points if point.key not in cards]


def _tried(cards: Cards, candidate: Candidate) -> int:
    """Return how many seeds a candidate has had, failed ones included."""
    return 1 + max((seed for number, seed in cards if number == candidate.number), default=-1)

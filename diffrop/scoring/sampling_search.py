"""The sampling level: which omega, sampler and average of the weights serve a checkpoint best.

Successive halving (Jamieson and Talwalkar, 2016) over the candidates: all are scored on few
samples, the better third goes on to three times as many, the last one to the full N. Candidates
are compared on equal N alone, and on the same noise. The first n samples of a larger N are the
very same images, so that a round costs only what it adds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from diffrop.config import OmegaSearch
from diffrop.constraints import Scores
from diffrop.record.score_card import CurvePoint
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import SamplingChoice

REDUCTION = 3
"""One candidate in so many goes on, to so many times the samples."""


SHARE = 0.4
"""Of the grid's samples, at most, where there are four candidates or more."""


LEAST_PER_CLASS = 2
"""Samples of each class in the first round, at least."""


@dataclass(frozen=True)
class Round:
    """All remaining candidates on equal N; then some go on."""

    num_samples: int
    num_kept: int
    """Candidates that go on, at most."""


def plan_rounds(
    method: OmegaSearch, num_candidates: int, num_samples: int, num_classes: int
) -> tuple[Round, ...]:
    """Return the rounds of a search; the last is on the full N.

    Halving takes the largest first round with which all samples drawn are at most `SHARE` of the
    grid's; for fewer than four candidates at most 1.6 times the full N. Where N is so small that
    it would have fewer than `LEAST_PER_CLASS` of each class, one round decides; where not even
    that fits, every candidate is scored on the full N.
    """
    whole = (Round(num_samples, 1),)
    if method == "grid" or num_candidates == 1:
        return whole
    budget = max(SHARE * num_candidates, 4 * SHARE) * num_samples
    for reduction in (REDUCTION, num_candidates):
        for per_class in range(num_samples // num_classes, LEAST_PER_CLASS - 1, -1):
            first = per_class * num_classes
            rounds = _halving(num_candidates, first, num_samples, reduction)
            if samples_at_most(rounds, num_candidates) <= budget:
                return rounds
    return whole


def _halving(
    num_candidates: int, first: int, num_samples: int, reduction: int
) -> tuple[Round, ...]:
    rounds: list[Round] = []
    left, count = num_candidates, first
    while left > 1 and count < num_samples:
        left = math.ceil(left / reduction)
        rounds.append(Round(count, left))
        count *= reduction
    return (*rounds, Round(num_samples, 1))


def samples_at_most(rounds: Sequence[Round], num_candidates: int) -> int:
    """Return how many samples the rounds draw in all."""
    total, before, left = 0, 0, num_candidates
    for current in rounds:
        total += left * (current.num_samples - before)
        left = min(current.num_kept, left)
        before = current.num_samples
    return total


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    best: SamplingChoice
    curve: list[CurvePoint]
    """A point for every round and candidate."""


def search(
    choices: Sequence[SamplingChoice],
    rounds: Sequence[Round],
    goal: Goal,
    score: Callable[[Sequence[SamplingChoice], int], Sequence[Scores]],
) -> Found:
    """Choose among candidates.

    Args:
        choices: the candidates.
        rounds: as `plan_rounds` gives them.
        goal: what the choice is made by.
        score: returns the scores of some candidates on the first so many samples. It is called
            with rising numbers; who is not asked for at the first call of a number has left.
    """
    left = list(choices)
    curve: list[CurvePoint] = []
    for current in rounds:
        num = current.num_samples
        scored = dict(zip(left, score(left, num), strict=True))
        order = _ranked(scored, goal, num)
        curve += [
            CurvePoint(
                omega=choice.omega,
                sampler=choice.sampler,
                num_samples=num,
                scores=dict(scores),
                evaluations=choice.evaluations,
            )
            for choice, scores in scored.items()
        ]
        left = order[: current.num_kept]
    return Found(left[0], curve)


def _ranked(
    scored: Mapping[SamplingChoice, Scores], goal: Goal, num_samples: int
) -> list[SamplingChoice]:
    """Return the candidates, best first; of equals the smaller omega."""
    choices = sorted(scored, key=lambda choice: choice.omega)
    order = goal.ranking([scored[choice] for choice in choices], num_samples)
    return [choices[place] for place in order]

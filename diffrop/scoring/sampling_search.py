"""The sampling level: which way of sampling serves a checkpoint best.

Candidates have several dimensions: sampler, average of the weights, guidance. The first round
visits some of them on few samples: all where they are few, otherwise along one dimension after
another, from the middle of each list. Among these, successive halving (Jamieson and Talwalkar,
2016) follows: the better third goes on to three times as many samples, the last one to the full N.
All candidates are drawn from the same noise, so that visiting more of them tells little more of a
dimension: more samples do. The first n samples of a larger N are the very same images, so that a
round costs only what it adds. FIDs are compared as carried to the full N
(`diffrop.metrics.fid_carried`), because few samples favour candidates that spread less.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diffrop.config import OmegaSearch
from diffrop.constraints import Scores
from diffrop.record.score_card import CurvePoint
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import SamplingChoice

REDUCTION = 3
"""One candidate in so many goes on, to so many times the samples."""
MOST_DRAWN = 3.0
"""Samples in all over the full N, at most, however many candidates and dimensions there are."""
SHARE = 0.4
"""Of the grid's samples, at most, where there are four candidates or more."""
SWEEPS = 1.5
"""Over every dimension in the first round: more visits would leave too few samples for each."""
LEAST_PER_CLASS = 2
"""Samples of each class in the first round, at least; a multiple, so that halves are balanced."""


@dataclass(frozen=True)
class Round:
    """All remaining candidates on equal N; then some go on."""

    num_samples: int
    num_candidates: int
    """At most: those that the first round visits, or that the round before lets go on."""


def plan_rounds(
    method: OmegaSearch, choices: Sequence[SamplingChoice], num_samples: int, num_classes: int
) -> tuple[Round, ...]:
    """Return the rounds of a search; the last is on the full N.

    The first round visits as many candidates as `SWEEPS` over every dimension come to, or all.
    It takes the largest number of samples with which all that is drawn is at most `SHARE` of the
    grid's, or 1.6 times the full N where there are fewer than four candidates, and never more than
    `MOST_DRAWN` times the full N. Where N is so small that it would have fewer than
    `LEAST_PER_CLASS` of each class, one round decides, and more than `SHARE` may be drawn; where
    not even that fits, fewer are visited.
    """
    if method == "grid" or len(choices) == 1:
        return (Round(num_samples, len(choices)),)
    most = int(MOST_DRAWN * num_samples)
    share = min(most, int(SHARE * max(len(choices), 4) * num_samples))
    for num_visited in range(min(len(choices), _sweeps(choices)), 1, -1):
        for budget in (share, most):
            for reduction in (REDUCTION, num_visited):
                for per_class in range(num_samples // num_classes // 2 * 2, 0, -LEAST_PER_CLASS):
                    first = per_class * num_classes
                    rounds = halving(num_visited, first, num_samples, reduction)
                    if samples_at_most(rounds) <= budget:
                        return rounds
    return (Round(num_samples, min(len(choices), int(MOST_DRAWN))),)


def _sweeps(choices: Sequence[SamplingChoice]) -> int:
    """Return a middle candidate and, `SWEEPS` times, the other values of each dimension."""
    return 1 + int(SWEEPS * sum(len(values) - 1 for values in _values(choices).values()))


def halving(
    num_candidates: int, first: int, num_samples: int, reduction: int
) -> tuple[Round, ...]:
    """Return rounds of which one candidate in `reduction` goes on, to so many times the samples.

    Args:
        num_candidates: of the first round.
        first: samples of each there.
        num_samples: the full N, on which the last round is.
        reduction: of the candidates from round to round.
    """
    rounds: list[Round] = []
    left, count = num_candidates, first
    while left > 1 and count < num_samples:
        rounds.append(Round(count, left))
        left = math.ceil(left / reduction)
        count *= reduction
    return (*rounds, Round(num_samples, left))


def samples_at_most(rounds: Sequence[Round]) -> int:
    """Return how many samples the rounds draw in all, at most."""
    total, before = 0, 0
    for current in rounds:
        total += current.num_candidates * (current.num_samples - before)
        before = current.num_samples
    return total


@dataclass(frozen=True)
class Estimated:
    """The scores of a candidate on some samples."""

    scores: Scores
    at_full: Scores
    """The same, FIDs carried to the full N."""


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    best: SamplingChoice
    curve: list[CurvePoint]
    """A point for every round and candidate."""


def curve_point(
    choice: SamplingChoice, num_samples: int, scores: Scores, at_full: Scores | None = None
) -> CurvePoint:
    """Return a candidate's scores on so many samples as the record has them."""
    return CurvePoint(
        omega=choice.omega,
        sampler=choice.sampler,
        num_samples=num_samples,
        scores=dict(scores),
        at_full=None if at_full is None else dict(at_full),
        evaluations=choice.evaluations,
    )


def search(
    choices: Sequence[SamplingChoice],
    rounds: Sequence[Round],
    goal: Goal,
    score: Callable[[Sequence[SamplingChoice], int], Sequence[Estimated]],
) -> Found:
    """Choose among candidates.

    Args:
        choices: the candidates.
        rounds: as `plan_rounds` gives them.
        goal: what the choice is made by.
        score: returns the scores of some candidates on the first so many samples. It is called
            with numbers that do not fall, and once for a candidate and number; who is not asked
            for at the first call of a larger number has left.
    """
    curve: list[CurvePoint] = []
    left: Sequence[SamplingChoice] = ()
    for place, current in enumerate(rounds):
        found = _Scored(goal, score, current.num_samples)
        if place == 0:
            _visit(choices, found, current.num_candidates)
        else:
            found.add(left, current.num_candidates)
        left = found.ranked()
        curve += found.points()
    return Found(left[0], curve)


class _Scored:
    """The candidates that were scored in one round."""

    def __init__(
        self,
        goal: Goal,
        score: Callable[[Sequence[SamplingChoice], int], Sequence[Estimated]],
        num_samples: int,
    ) -> None:
        self._goal, self._score, self._num_samples = goal, score, num_samples
        self._found: dict[SamplingChoice, Estimated] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, choices: Sequence[SamplingChoice], limit: int) -> None:
        """Score candidates, each once, until so many have been scored."""
        new = [choice for choice in choices if choice not in self._found]
        new = new[: limit - len(self)]
        if new:
            self._found.update(zip(new, self._score(new, self._num_samples), strict=True))

    def ranked(self, among: Sequence[SamplingChoice] | None = None) -> list[SamplingChoice]:
        """Return candidates, or some of them, best first; of equals the smaller omega."""
        kept = [each for each in self._found if among is None or each in among]
        kept.sort(key=lambda choice: choice.omega)
        order = self._goal.ranking([self._found[c].at_full for c in kept], self._num_samples)
        return [kept[place] for place in order]

    def points(self) -> list[CurvePoint]:
        """Return a row for each candidate."""
        full = self._num_samples == self._goal.num_samples
        return [
            curve_point(choice, self._num_samples, found.scores, None if full else found.at_full)
            for choice, found in self._found.items()
        ]


def _visit(choices: Sequence[SamplingChoice], scored: _Scored, limit: int) -> None:
    """Score candidates along one dimension after another, `limit` at most.

    From the middle, the best along each dimension in turn is where the next begins. Where a sweep
    over all dimensions comes to nothing new, the next begins at the best candidate that none has
    begun or ended at. With a limit as large as their number, all are scored.
    """
    dimensions = [name for name, values in _values(choices).items() if len(values) > 1]
    ends: set[SamplingChoice] = set()
    start: SamplingChoice | None = middle(choices) if limit < len(choices) else None
    while start is not None and len(scored) < limit:
        before, current = len(scored), start
        scored.add([start], limit)
        for dimension in dimensions:
            line = neighbours(current, dimension, choices)
            scored.add(line, limit)
            current = scored.ranked(line)[0]
        if len(scored) == before:
            ends |= {start, current}
            start = next((each for each in scored.ranked() if each not in ends), None)
        else:
            start = current
    scored.add(choices, limit)


def neighbours(
    choice: SamplingChoice, dimension: str, choices: Sequence[SamplingChoice]
) -> list[SamplingChoice]:
    """Return the candidates that differ from one in a dimension alone, with itself.

    A dimension that a candidate does not have, because it would change nothing there, counts as
    equal to any.
    """
    own = choice.coordinates

    def agrees(other: SamplingChoice) -> bool:
        theirs = other.coordinates
        shared = own.keys() & theirs.keys() - {dimension}
        return all(own[name] == theirs[name] for name in shared)

    alike = [each for each in choices if agrees(each)]
    return [each for each in alike if each == choice or dimension in each.coordinates]


def middle(choices: Sequence[SamplingChoice]) -> SamplingChoice:
    """Return a candidate that has every dimension, and most middle values of their lists.

    The lists' order is that of the candidates; of two middle values the later one counts.
    """
    centre = {name: values[len(values) // 2] for name, values in _values(choices).items()}

    def agreement(choice: SamplingChoice) -> tuple[int, int]:
        own = choice.coordinates
        return len(own), sum(centre[name] == value for name, value in own.items())

    return max(choices, key=agreement)


def _values(choices: Sequence[SamplingChoice]) -> dict[str, list[object]]:
    """Return the values of each dimension, in the order of the candidates."""
    found: dict[str, dict[object, None]] = {}
    for choice in choices:
        for name, value in choice.coordinates.items():
            found.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in found.items()}

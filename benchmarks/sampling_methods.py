"""The methods that `sampling_search.py` compares, and what they draw and score.

All choose among the same candidates on the same noise, by FID as it is on a round's samples
(plain) or carried to the full N (carried): the grid; halving over the product of all dimensions;
racing, where a candidate leaves as soon as its paired 95 % interval lies above the leader's; and
the engine's own, halving after coordinate-wise visits. All but the grid draw at most three times
the full N.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from benchmarks.sampling_spaces import Space
from diffrop.metrics import Estimate, paired_interval
from diffrop.metrics.fid_carried import FidAtFullN
from diffrop.metrics.frechet import frechet_distance
from diffrop.metrics.intervals import fid_estimate
from diffrop.scoring.sampling_search import (
    LEAST_PER_CLASS,
    MOST_DRAWN,
    REDUCTION,
    Estimated,
    Round,
    halving,
    plan_rounds,
    samples_at_most,
    search,
)
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import SamplingChoice


class Meter:
    """Scores a space's candidates on one noise, and counts what has been drawn."""

    def __init__(self, space: Space, repeat: int, carry: FidAtFullN) -> None:
        self.space, self._repeat, self._carry = space, repeat, carry
        self.full = len(space.labels)
        self._features: dict[SamplingChoice, Tensor] = {}
        self._known: dict[tuple[SamplingChoice, int], tuple[float, float]] = {}
        self.drawn: dict[SamplingChoice, int] = {}

    def first(self, choice: SamplingChoice, count: int) -> Tensor:
        """Return a candidate's first samples."""
        if choice not in self._features:
            self._features[choice] = self.space.features(choice, self._repeat)
        self.drawn[choice] = max(count, self.drawn.get(choice, 0))
        return self._features[choice][:count]

    def fid(self, choice: SamplingChoice, count: int, carried: bool) -> float:
        """Return a candidate's FID on its first samples, or what it is carried to."""
        features = self.first(choice, count)
        if (choice, count) not in self._known:
            plain_fid = frechet_distance(features, self.space.reference)
            labels = self.space.labels[:count]
            more = self._carry.carried(plain_fid, features, labels, self.full)
            self._known[choice, count] = (plain_fid, more)
        return self._known[choice, count][carried]

    def scores(
        self, choices: Sequence[SamplingChoice], count: int, carried: bool
    ) -> list[Estimated]:
        """Return what the engine's search asks for."""
        found = [self.fid(choice, count, carried) for choice in choices]
        return [Estimated({"fid/all": fid}, {"fid/all": fid}) for fid in found]

    def taken(self) -> float:
        """Return the samples that were drawn since the last call, over the full N."""
        drawn, self.drawn = sum(self.drawn.values()), {}
        return drawn / self.full


def grid(meter: Meter) -> SamplingChoice:
    """Score all on the full N."""
    return min(meter.space.choices, key=lambda each: meter.fid(each, meter.full, carried=False))


def engine(meter: Meter, carried: bool) -> SamplingChoice:
    """Search as the engine does."""
    rounds = plan_rounds("halving", meter.space.choices, meter.full, meter.space.num_classes)
    goal = Goal(("fid/all",), (), meter.full)
    score = functools.partial(meter.scores, carried=carried)
    return search(meter.space.choices, rounds, goal, score).best


def product(meter: Meter, carried: bool) -> SamplingChoice:
    """Halve all candidates; the first round is as large as fits into three times the full N."""
    choices = meter.space.choices
    rounds = _rounds_of_many(len(choices), meter.full, meter.space.num_classes)
    left = _spread(choices, rounds[0].num_candidates)
    for current in rounds:
        score = functools.partial(meter.fid, count=current.num_samples, carried=carried)
        left = sorted(left[: current.num_candidates], key=score)
    return left[0]


def _rounds_of_many(num_candidates: int, full: int, num_classes: int) -> Sequence[Round]:
    """Return rounds of all candidates, or of as many as can be begun with."""
    while True:
        for per_class in range(full // num_classes, LEAST_PER_CLASS - 1, -1):
            rounds = halving(num_candidates, per_class * num_classes, full, REDUCTION)
            if samples_at_most(rounds) <= MOST_DRAWN * full:
                return rounds
        num_candidates -= 1


def _spread(choices: Sequence[SamplingChoice], most: int) -> list[SamplingChoice]:
    """Return candidates, `most` at most, evenly over their list."""
    num = min(most, len(choices))
    return [choices[len(choices) * place // num] for place in range(num)]


def racing(meter: Meter, carried: bool) -> SamplingChoice:
    """Double the samples of all that may be the best, and of the better ones where it is dear."""
    budget, full, labels = int(MOST_DRAWN * meter.full), meter.full, meter.space.labels
    count = LEAST_PER_CLASS * meter.space.num_classes
    left = _spread(meter.space.choices, (budget - full) // count)
    spent = len(left) * count
    while True:
        left.sort(key=functools.partial(meter.fid, count=count, carried=carried))
        if count == full or len(left) == 1:
            return left[0]
        estimates = {c: _estimate(meter, c, count, carried) for c in left}
        leader = estimates[left[0]]
        left = [
            each
            for each in left
            if paired_interval(estimates[each], leader, labels[:count]).low <= 0
        ]
        more = min(full, 2 * count) - count
        afforded = (budget - spent - (full - count - more)) // more
        left = left[: max(1, afforded)]
        spent, count = spent + len(left) * more, count + more


def _estimate(meter: Meter, choice: SamplingChoice, count: int, carried: bool) -> Estimate:
    influence = fid_estimate(meter.first(choice, count), meter.space.reference).influence
    return Estimate(meter.fid(choice, count, carried), influence)


ENGINE = "engine: coordinates, carried"
METHODS: Mapping[str, Callable[[Meter], SamplingChoice]] = {
    "grid": grid,
    "product, plain": functools.partial(product, carried=False),
    "product, carried": functools.partial(product, carried=True),
    "racing, plain": functools.partial(racing, carried=False),
    "racing, carried": functools.partial(racing, carried=True),
    "coordinates, plain": functools.partial(engine, carried=False),
    ENGINE: functools.partial(engine, carried=True),
}

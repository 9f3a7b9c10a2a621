"""Population-based training on the engine's own checkpoints (Jaderberg et al., 2017).

A trial that stops at a rung is replaced by one that goes on from a leader's checkpoint of that
rung, at values near the leader's. It is a trial of its own, with its own number, and its parent
stands beside it. Every other trial is drawn by the study's sampler.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from diffrop.record.trial_state import REPLACES, STOPPED_AT, VALUES
from diffrop.search.rung_scores import RungScores
from diffrop.seeds import EXPLORATION, derive_seed
from diffrop.study.config import StudyConfig
from diffrop.study.space import Parameter, SearchSpace
from diffrop.training.fork import FIXED_KEYS

FACTORS = (0.8, 1.25)
"""Of a value on a logarithmic range; on another it moves by a tenth of the range."""


SHIFT = 0.1


RESAMPLE = 0.25
"""Probability with which a choice is drawn anew."""


@dataclass(frozen=True)
class Child:
    """What takes the place of a stopped trial."""

    replaces: int
    parent: int
    images: int
    """The rung whose checkpoint of the parent it starts from."""
    values: dict[str, Any]


def next_child(
    config: StudyConfig,
    number: int,
    trials: Sequence[FrozenTrial],
    rung_scores: RungScores,
    forkable: Callable[[int, int], bool],
) -> Child | None:
    """Return the child that trial `number` is, None if no stopped trial waits for one.

    Args:
        config: space, seed, and 1/eta as the share of leaders.
        number: of the trial to come.
        trials: of the study, by number.
        rung_scores: their scores.
        forkable: whether a trial's checkpoint at so many images can be forked from.
    """
    replaced = {trial.user_attrs.get(REPLACES) for trial in trials if trial.number != number}
    for stopped in trials:
        images = stopped.user_attrs.get(STOPPED_AT)
        waits = stopped.state == TrialState.PRUNED and stopped.number not in replaced
        if images is None or not waits:
            continue
        best = leaders(config, images, stopped.number, trials, rung_scores)
        able = [leader for leader in best if forkable(leader, images)]
        if able:
            rng = np.random.default_rng(derive_seed(config.seed, EXPLORATION, number))
            parent = able[int(rng.integers(len(able)))]
            values = explore(config.space, trials[parent].user_attrs[VALUES], rng)
            return Child(stopped.number, parent, images, values)
    return None


def leaders(
    config: StudyConfig,
    images: int,
    stopped: int,
    trials: Sequence[FrozenTrial],
    rung_scores: RungScores,
) -> list[int]:
    """Return the best 1/eta of the trials at a rung; not the baseline, which has no values."""
    seen = rung_scores.best_first(images)
    count = max(1, int(len(seen) / config.reduction_factor))
    return [
        number
        for number in seen[:count]
        if number not in (0, stopped) and trials[number].state != TrialState.FAIL
    ]


def explore(
    space: SearchSpace, values: dict[str, Any], rng: np.random.Generator
) -> dict[str, Any]:
    """Return values near those of a leader: numbers moved, choices now and then drawn anew."""
    found: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.asked(found):
            known = values.get(parameter.name)
            if known is None:
                found[parameter.name] = _draw(parameter, rng)
            elif parameter.name in FIXED_KEYS:
                found[parameter.name] = known
            else:
                found[parameter.name] = _move(parameter, known, rng)
    return found


def _move(parameter: Parameter, value: Any, rng: np.random.Generator) -> Any:
    distribution = parameter.distribution()
    if isinstance(distribution, CategoricalDistribution):
        return _draw(parameter, rng) if rng.random() < RESAMPLE else value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    up = value <= low or (value < high and bool(rng.integers(2)))
    if distribution.log:
        moved = value * FACTORS[up]
    else:
        moved = value + (SHIFT if up else -SHIFT) * (high - low)
    if parameter.integer:
        moved = max(value + 1, round(moved)) if up else min(value - 1, round(moved))
    return min(max(moved, low), high)


def _draw(parameter: Parameter, rng: np.random.Generator) -> Any:
    distribution = parameter.distribution()
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    share = rng.random()
    drawn = low * (high / low) ** share if distribution.log else low + (high - low) * share
    return min(max(round(drawn) if parameter.integer else drawn, low), high)

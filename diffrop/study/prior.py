"""What a user believes of a parameter before the search: draws around it, fewer as trials end.

A new trial takes all of the space's priors or none. How likely it does falls as trials finish, and
falls faster where those that took them score worse than the others, so that a belief that is wrong
costs a few early trials and no more. What is drawn is evidence like any other: where a belief is
right, the sampler finds it in the scores. (Other rules to the same end: Hvarfner et al., 2022;
Mallik et al., 2023.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from diffrop.study.space import Parameter, SearchSpace

Confidence = Literal["low", "medium", "high"]
SPREAD: Mapping[Confidence, float] = {"low": 0.3, "medium": 0.15, "high": 0.05}
"""Standard deviation of draws around the prior, as a share of the range, on its own scale; they
are normal, cut at the ends of the range."""
OTHER_CHOICE: Mapping[Confidence, float] = {"low": 0.5, "medium": 0.25, "high": 0.1}
"""Probability that another choice than the prior is drawn, all others alike."""
WORTH = 1 / 4
"""After this share of the study's trials has finished, priors are taken half as often as at the
beginning, if the scores say nothing of them."""


@dataclass(frozen=True)
class Finished:
    """How a trial ended that the sampler knows."""

    near_priors: bool
    """Whether it took the priors."""
    values: tuple[float, ...] | None
    """Of its objectives, lower is better; None if it was stopped or failed."""


def probability(finished: Sequence[Finished], num_trials: int) -> float:
    """Return how likely a new trial takes the priors.

    It is b w / (w + k) after k trials of a study of n, with w = n / 4. b is the chance that a
    trial near the priors beats another one: the mean over those near them of the share of the
    others that each beats, where one more counts as 1/2. It begins at 1/2.

    Args:
        finished: trials that the sampler has, earlier studies' included.
        num_trials: n.
    """
    near, others = ([t for t in finished if t.near_priors is taken] for taken in (True, False))
    shares = _shares_beaten(near, others) if near and others else np.empty(0)
    chance = (0.5 + shares.sum()) / (1 + len(shares))
    worth = max(1.0, WORTH * num_trials)
    return float(chance * worth / (worth + len(finished)))


def _shares_beaten(trials: Sequence[Finished], others: Sequence[Finished]) -> np.ndarray:
    """Return the share of the others (n,) that each trial beats.

    One that is better in an objective and worse in another counts as 1/2, as an equal one does.
    """
    width = max(len(trial.values or ()) for trial in (*trials, *others))
    none = (math.inf,) * width  # worse than any score
    own, theirs = (np.array([t.values or none for t in part]) for part in (trials, others))
    better = (own[:, None] < theirs).any(axis=2).astype(float)
    worse = (own[:, None] > theirs).any(axis=2).astype(float)
    found: np.ndarray = (0.5 + 0.5 * (better - worse)).mean(axis=1)
    return found


def draw(space: "SearchSpace", rng: np.random.Generator) -> dict[str, Any]:
    """Return a value near the prior of each parameter that has one, by its name."""
    return {
        parameter.name: _draw(parameter, rng)
        for parameter in space.parameters
        if parameter.prior is not None
    }


def _draw(parameter: "Parameter", rng: np.random.Generator) -> Any:
    assert parameter.confidence is not None
    if parameter.choices is not None:
        others = [choice for choice in parameter.choices if choice != parameter.prior]
        if others and rng.random() < OTHER_CHOICE[parameter.confidence]:
            return others[int(rng.integers(len(others)))]
        return parameter.prior
    middle, spread = parameter.share_of(parameter.prior), SPREAD[parameter.confidence]
    share = rng.normal(middle, spread)
    while not 0 <= share <= 1:
        share = rng.normal(middle, spread)
    return parameter.at_share(share)

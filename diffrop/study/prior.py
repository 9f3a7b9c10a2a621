"""What a user believes of a parameter before the search: draws around it, fewer as trials end.

A new trial takes all of the space's priors or none. How likely it does falls as trials finish, and
falls faster where those that took them score worse than the others, so that a belief that is wrong
costs a few early trials and no more. What is drawn is evidence like any other: where a belief is
right, the sampler finds it in the scores. (Other rules to the same end: Hvarfner et al., 2022;
Mallik et al., 2023.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

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
    near = [trial for trial in finished if trial.near_priors]
    others = [trial for trial in finished if not trial.near_priors]
    shares = [sum(_beats(own, other) for other in others) / len(others) for own in near if others]
    chance = (0.5 + sum(shares)) / (1 + len(shares))
    worth = max(1.0, WORTH * num_trials)
    return chance * worth / (worth + len(finished))


def _beats(own: Finished, other: Finished) -> float:
    """Return 1 if a trial is better in all objectives than another, 0 if worse, else 1/2."""
    if own.values is None or other.values is None:
        return 0.5 + 0.5 * ((own.values is not None) - (other.values is not None))
    pairs = list(zip(own.values, other.values, strict=True))
    better, worse = (any(sign * (a - b) < 0 for a, b in pairs) for sign in (1, -1))
    return 0.5 + 0.5 * (better - worse)


def draw(space: "SearchSpace", rng: "np.random.Generator") -> dict[str, Any]:
    """Return a value near the prior of each parameter that has one, by its name."""
    return {
        parameter.name: _draw(parameter, rng)
        for parameter in space.parameters
        if parameter.prior is not None
    }


def _draw(parameter: "Parameter", rng: "np.random.Generator") -> Any:
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

"""When a trial is stopped at a rung: pure functions of how many trials there are better.

Trials compare at equal rungs alone, for there they were scored on equally many samples and steps.
"""

import math
from collections.abc import Callable
from functools import lru_cache

from diffrop.seeds import AUDIT, derive_seed

MEDIAN_MIN_OTHERS = 4
"""Fewer make no median that is worth a stop."""
Rule = Callable[[int, int, float], bool]
"""Whether a trial goes on from a rung, by how many others are better there, how many others there
are, and the reduction factor eta."""


def successive_halving(num_better: int, num_others: int, reduction_factor: float) -> bool:
    """The trial is in the best 1/eta of those seen at the rung, itself included, or the best.

    Asynchronous successive halving (Li et al., 2020).
    """
    return num_better < max(1, int((num_others + 1) / reduction_factor))


def median(num_better: int, num_others: int, reduction_factor: float) -> bool:
    """No more than half of the others, four at least, are better."""
    return num_others < MEDIAN_MIN_OTHERS or 2 * num_better <= num_others


def not_worst(num_better: int, num_others: int, reduction_factor: float) -> bool:
    """The trial is not in the worst 1/eta (population-based training; Jaderberg et al., 2017)."""
    seen = num_others + 1
    return num_better < seen - int(seen / reduction_factor)


def never(num_better: int, num_others: int, reduction_factor: float) -> bool:
    """Every trial goes on to its end."""
    return True


STOPPING_RULES: dict[str, Rule] = {
    "asha": successive_halving,
    "hyperband": successive_halving,  # among the trials of a bracket
    "median": median,
    "pbt": not_worst,
    "none": never,
}
"""By the name that a study's `scheduler` gives."""


def goes_on(rule: str, num_better: int, num_others: int, reduction_factor: float) -> bool:
    """Return whether a trial goes on from a rung.

    Args:
        rule: the study's scheduler.
        num_better: others at this rung that are better.
        num_others: others at this rung.
        reduction_factor: eta.
    """
    return STOPPING_RULES[rule](num_better, num_others, reduction_factor)


def bracket_of(number: int, num_rungs: int, reduction_factor: float) -> int:
    """Return the bracket of a trial of asynchronous Hyperband: the rung it is first judged at.

    With R rungs before the last, bracket b halves R - b times; the last one never does. Of n_b
    trials in a bracket, n_b = (R + 1) / (R - b + 1) eta^(R - b), one reaches the end each time, so
    that every bracket has about the same budget (Li et al., 2018). The numbers are dealt out in
    turn, so that every run of trials has its share of each.

    Args:
        number: of the trial.
        num_rungs: R.
        reduction_factor: eta.
    """
    deal = _deal(num_rungs, reduction_factor)
    return deal[number % len(deal)]


@lru_cache(maxsize=16)
def _deal(num_rungs: int, reduction_factor: float) -> tuple[int, ...]:
    shares = [
        math.ceil((num_rungs + 1) / (halvings + 1) * reduction_factor**halvings)
        for halvings in range(num_rungs, -1, -1)
    ]
    total, dealt = sum(shares), [0] * len(shares)
    deal: list[int] = []
    for turn in range(1, total + 1):
        behind = [share * turn / total - had for share, had in zip(shares, dealt, strict=True)]
        bracket = behind.index(max(behind))
        dealt[bracket] += 1
        deal.append(bracket)
    return tuple(deal)


def is_audited(seed: int, audit_fraction: float, number: int) -> bool:
    """Return whether a trial runs to its end even if it should stop.

    Args:
        seed: of the study.
        audit_fraction: share of the trials that are drawn.
        number: of the trial.
    """
    return derive_seed(seed, AUDIT, number) < audit_fraction * 2**63

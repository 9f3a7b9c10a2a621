"""When a trial is stopped at a rung: pure functions of how many trials there are better.

Trials compare at equal rungs alone, for there they were scored on equally many samples and steps.
"""

from functools import lru_cache

import numpy as np

from diffrop.seeds import AUDIT, derive_seed
from diffrop.study.config import Scheduler, StudyConfig

MEDIAN_MIN_OTHERS = 4
"""Fewer make no median that is worth a stop."""


def goes_on(rule: Scheduler, num_better: int, num_others: int, reduction_factor: float) -> bool:
    """Return whether a trial goes on from a rung.

    asha and hyperband: it is in the best 1/eta of those seen there, itself included, or the best
    (asynchronous successive halving; Li et al., 2020). Hyperband compares within a bracket.
    median: no more than half of the others, four at least, are better.
    pbt: it is not in the worst 1/eta.

    Args:
        rule: the study's scheduler.
        num_better: others at this rung that are better.
        num_others: others at this rung.
        reduction_factor: eta.
    """
    seen = num_others + 1
    share = int(seen / reduction_factor)
    match rule:
        case "asha" | "hyperband":
            return num_better < max(1, share)
        case "median":
            return num_others < MEDIAN_MIN_OTHERS or 2 * num_better <= num_others
        case "pbt":
            return num_better < seen - share
        case "none":
            return True


def bracket_of(number: int, num_rungs: int, reduction_factor: float) -> int:
    """Return the bracket of a trial of asynchronous Hyperband: the rung it is first judged at.

    With R rungs before the last, bracket b halves R - b times; the last one never does. Of n_b
    trials in a bracket, n_b = (R + 1) / (R - b + 1) eta^(R - b), one reaches the end each time, so
    that every bracket has about the same budget (Li et al., 2018). The numbers are dealt out in
    turn, so that every stretch of trials has its share of each.

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
        int(np.ceil((num_rungs + 1) / (halvings + 1) * reduction_factor**halvings))
        for halvings in range(num_rungs, -1, -1)
    ]
    total, dealt = sum(shares), [0] * len(shares)
    deal: list[int] = []
    for turn in range(1, total + 1):
        behind = [share * turn / total - had for share, had in zip(shares, dealt, strict=True)]
        bracket = int(np.argmax(behind))
        dealt[bracket] += 1
        deal.append(bracket)
    return tuple(deal)


def is_audited(config: StudyConfig, number: int) -> bool:
    """Return whether a trial runs to its end even if it should stop: drawn by seed and number."""
    return derive_seed(config.seed, AUDIT, number) < config.audit_fraction * 2**63

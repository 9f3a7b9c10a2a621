"""How many trials are expected to reach each rung, before any has run."""

import math
from collections import Counter
from functools import lru_cache

from diffrop.study.config import StudyConfig
from diffrop.study.stopping_rules import bracket_of, goes_on


def expected_survivors(config: StudyConfig) -> list[float]:
    """Return how many trials are expected to reach each rung, if any order of them is as likely.

    The baseline always goes on, and so does the audited share of those that are to be stopped.
    Under pbt a trial that stops is followed by another that goes on from there, within the same
    number of trials.
    """
    early = len(config.rungs) - 1
    rule, factor, total = config.scheduler, config.reduction_factor, float(config.num_trials)
    if rule == "none" or early == 0:
        return [total] * (early + 1)
    if rule == "pbt":
        chains = total / (1 + early / factor)
        return [chains] * (early + 1)
    numbers = range(config.num_trials)
    brackets = Counter(bracket_of(n, early, factor) if rule == "hyperband" else 0 for n in numbers)
    reach = [0.0] * (early + 1)
    for bracket, count in brackets.items():
        judged, free = float(count), 0.0
        for place in range(early + 1):
            reach[place] += judged + free
            if bracket <= place < early:
                on = _going_on(rule, judged, factor, bracket_of(0, early, factor) == bracket)
                free += (judged - on) * config.audit_fraction
                judged = on
    return reach


def _going_on(rule: str, count: float, factor: float, baseline: bool) -> float:
    """Return how many of `count` trials, in any order, a rule lets go on."""
    whole = math.floor(count)
    share = count - whole
    on = _sum_going_on(rule, whole, factor) * (1 - share)
    on += _sum_going_on(rule, whole + 1, factor) * share
    if baseline and count > 1:  # it goes on whatever it scored
        on += 1 - on / count
    return min(on, count)


@lru_cache(maxsize=1024)
def _sum_going_on(rule: str, count: int, factor: float) -> float:
    """The trial that comes as number i is equally likely to have 0 to i - 1 better before it."""
    total = 0.0
    for others in range(count):
        low, high = 0, others + 1  # the first number of better ones that stops it
        while low < high:
            middle = (low + high) // 2
            if goes_on(rule, middle, others, factor):
                low = middle + 1
            else:
                high = middle
        total += low / (others + 1)
    return total

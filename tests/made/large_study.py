"""A study of forty trials: pruned, failed, infeasible and broken ones among them."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.made.full_card import RUNGS
from tests.made.full_study import SCHEDULES, write_full_study

FORMS = ("reciprocal", "hinge", "exponential", "negative_l2")
NUM_TRIALS = 40
PRUNED, FAILED, RUNNING = (3, 6, 10, 14, 19, 22, 25, 28, 31, 35), (7, 23, 38), (39,)
INFEASIBLE_BEST = 37
CONFIRMED = {1: 3.2, 13: 5.5}
"""tau_0 of the leaders that the full study confirms."""
BROKEN = 27
ADDED = {
    INFEASIBLE_BEST: {"fid/all": -1.0, "fid/many": 6.0},
    BROKEN: {"fid/all": 90.0, "fid/many": 110.0, "fid/medium": 130.0, "fid/few": 160.0},
}


def large_trials() -> tuple[tuple[Any, ...], ...]:
    """The rows of `full_study.TRIALS`, forty of them, spread over its space."""
    rng = np.random.default_rng(5)
    trials: list[tuple[Any, ...]] = [(0, "COMPLETE", "none", None, None, None, None, 3)]
    for number in range(1, NUM_TRIALS):
        form = FORMS[(number - 1) % len(FORMS)]
        state, num_rungs = "COMPLETE", len(RUNGS)
        if number in PRUNED:
            state, num_rungs = "PRUNED", 1 + number % 2
        elif number in FAILED:
            state, num_rungs = "FAIL", number % 2
        elif number in RUNNING:
            state, num_rungs = "RUNNING", 1
        margin = float(rng.uniform(0.995, 1.05)) if form == "hinge" else None
        tau_0, kappa = float(10 ** rng.uniform(-1, 2)), float(10 ** rng.uniform(-1, 0))
        schedule = SCHEDULES[int(rng.integers(len(SCHEDULES)))]
        if number == INFEASIBLE_BEST:
            tau_0, schedule = 3.0, "exponential"
        if number in CONFIRMED:
            tau_0, schedule = CONFIRMED[number], "exponential"
        trials.append((number, state, form, tau_0, kappa, margin, schedule, num_rungs))
    return tuple(trials)


def write_large_study(directory: Path, name: str = "large") -> Path:
    """Write the study: the lowest FID breaks the constraint, and one trial is broken."""
    return write_full_study(directory, name, large_trials(), ADDED)

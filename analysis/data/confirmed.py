"""What the retrainings with fresh seeds found, from confirm.json."""

import math
import statistics
from dataclasses import dataclass

from diffrop.analysis.data.load import StudyResults


@dataclass(frozen=True)
class Confirmed:
    """The leader that was found best, or else the one that came nearest to it."""

    number: int
    is_best: bool
    objective: str
    mean: float
    """Of the leader's objective less the baseline's, paired over seeds."""
    low: float
    high: float
    level: str
    """Confidence of the interval, such as "95 %" or "repeated 95 %"."""
    value: float
    """Mean of the leader's objective over the seeds."""
    baseline_value: float
    num_seeds: int
    num_samples: int | None
    conditional: bool
    """Whether all retrainings start from the same weights."""


def confirmed(study: StudyResults) -> Confirmed | None:
    """Return the outcome of a confirmation of the present leaders; None where there is none."""
    found = study.confirmation
    if found is None or not found.current or not found.baseline.values:
        return None
    known = set(study.trials["number"])
    measured = [
        (leader, leader.mean, leader.low, leader.high)
        for leader in found.leaders
        if leader.trial in known
        if leader.mean is not None and leader.low is not None and leader.high is not None
    ]
    if not measured:
        return None
    level = f"{1 - found.alpha:.0%}".replace("%", " %")
    leader, mean, low, high = min(measured, key=lambda one: (one[0].trial != found.best, one[1]))
    return Confirmed(
        number=leader.trial,
        is_best=leader.trial == found.best,
        objective=found.objective,
        mean=mean,
        low=low,
        high=high,
        level=f"repeated {level}" if found.repeated else level,
        value=statistics.fmean(leader.values) if leader.values else math.nan,
        baseline_value=statistics.fmean(found.baseline.values),
        num_seeds=len(leader.by_seed),
        num_samples=found.num_samples,
        conditional=found.conditional_on_prefix,
    )

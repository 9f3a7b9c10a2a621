"""What the retrainings with fresh seeds found, from confirm.json."""

import math
from dataclasses import dataclass
from typing import Any

from analysis.data.load import StudyResults


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
    """Confidence of the interval, such as "95 %"."""
    value: float
    """Mean of the leader's objective over the seeds."""
    baseline_value: float
    num_seeds: int
    num_samples: Any
    conditional: bool
    """Whether all retrainings start from the same weights."""


def confirmed(study: StudyResults) -> Confirmed | None:
    """Return the outcome of a confirmation of the present leaders; None where there is none."""
    found = study.confirmation
    leaders = [leader for leader in mappings(found.get("leaders")) if _is_measured(leader)]
    trained = found.get("baseline")
    baseline = _mean(trained.get("values")) if isinstance(trained, dict) else math.nan
    known = set(study.trials["number"])
    leaders = [leader for leader in leaders if leader.get("trial") in known]
    if not leaders or math.isnan(baseline) or not found.get("current", True):
        return None
    best = found.get("best")
    leader = next(
        (leader for leader in leaders if leader["trial"] == best),
        min(leaders, key=lambda leader: leader["mean"]),
    )
    return Confirmed(
        number=leader["trial"],
        is_best=leader["trial"] == best,
        objective=str(found.get("objective") or study.objective),
        mean=float(leader["mean"]),
        low=float(leader["low"]),
        high=float(leader["high"]),
        level=f"{1 - float(found.get('alpha') or 0.05):.0%}".replace("%", " %"),
        value=_mean(leader.get("values")),
        baseline_value=baseline,
        num_seeds=len(leader["differences"]),
        num_samples=found.get("num_samples"),
        conditional=bool(found.get("conditional_on_prefix")),
    )


def mappings(rows: Any) -> list[dict[str, Any]]:
    """Return the mappings of a list; an empty list where it is none."""
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _is_measured(leader: dict[str, Any]) -> bool:
    known = all(type(leader.get(key)) in (int, float) for key in ("mean", "low", "high"))
    return known and isinstance(leader.get("differences"), list)


def _mean(values: Any) -> float:
    known = values if isinstance(values, list) else []
    numbers = [value for value in known if type(value) in (int, float)]
    return sum(numbers) / len(numbers) if numbers else math.nan

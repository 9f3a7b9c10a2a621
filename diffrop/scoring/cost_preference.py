"""Cost as a goal: the cheapest sampling choice that is surely almost as good as the best.

A search says which candidate is best; whether a cheaper one is as good takes both on the full N,
on the same noise. So cheaper ones that looked nearly as good are drawn in full, the cheapest
first, until the paired interval of one lies below the margin.
"""

from collections.abc import Callable, Sequence

import torch

from diffrop import distributed
from diffrop.constraints import Scores
from diffrop.metrics.interval import Interval
from diffrop.metrics.intervals import Estimate, paired_interval
from diffrop.metrics.report import ShotReport
from diffrop.record.score_card import CostPreference
from diffrop.scoring.sampling_search import Found, curve_point
from diffrop.study.objectives import Goal
from diffrop.study.sampling_choice import MAX_CHEAPER, SamplingChoice

LOOSENESS = 2.0
"""Those are drawn that looked worse by at most so many times the margin, on few samples."""


def prefer_cheap(
    choices: Sequence[SamplingChoice],
    found: Found,
    goal: Goal,
    margin: float,
    report: Callable[[SamplingChoice], ShotReport],
    device: torch.device,
) -> tuple[Found, CostPreference]:
    """Return a search's outcome with the cheapest choice that is almost as good, and why.

    It is the first, by rising evaluations, whose objectives each exceed the best's by at most
    `margin` of them at the upper end of the paired 95 % interval over samples, and that breaks
    constraints no more than the best does. Otherwise the best stays.

    Args:
        choices: the candidates of the search.
        found: its outcome.
        goal: what it was made by.
        margin: a share of the best's objectives.
        report: returns a candidate's FIDs on the full N with their influence; every worker calls
            it alike.
        device: of this worker, whose decisions are those of rank 0.
    """
    best = found.best
    ours = report(best)
    curve = list(found.curve)
    known = {(p.omega, p.sampler) for p in curve if p.num_samples == goal.num_samples}
    drawn = _promising(choices, found, goal, margin)
    for choice in drawn:
        theirs = report(choice)
        if (choice.omega, choice.sampler) not in known:
            curve.append(curve_point(choice, goal.num_samples, theirs.scores))
        differences = {name: _difference(theirs, ours, name) for name in goal.objectives}
        alike = all(
            interval.high <= margin * ours.scores[name] for name, interval in differences.items()
        )
        broken, best_breaks = (goal.broken(r.scores, goal.num_samples) for r in (theirs, ours))
        if distributed.from_rank_0(alike and broken <= best_breaks, device):
            reason = _gain(best, choice, margin, differences, ours.scores)
            return Found(choice, curve), _preference(best, margin, differences, reason)
    tried = ", ".join(f"{choice.sampler} at omega {choice.omega:g}" for choice in drawn)
    reason = (
        f"no cheaper choice is surely within {margin:.1%} of it; drawn in full: {tried or 'none'}"
    )
    return Found(best, curve), _preference(best, margin, {}, reason)


def _promising(
    choices: Sequence[SamplingChoice], found: Found, goal: Goal, margin: float
) -> list[SamplingChoice]:
    """Return cheaper candidates that looked nearly as good as the best, by rising cost.

    Each is compared with the best on as many samples as it has. The most promising one at each
    cost counts, and of these `MAX_CHEAPER`, the most promising: those that only look worse and
    cheaper would take the place of one that is as good.
    """
    best = found.best
    rows = {(p.omega, p.sampler, p.num_samples): p.at_full or p.scores for p in found.curve}
    newest = {(p.omega, p.sampler): p for p in found.curve}  # rounds stand in rising order
    excess: dict[SamplingChoice, float] = {}
    for choice in choices:
        point = newest.get((choice.omega, choice.sampler))
        if point is None or choice.evaluations >= best.evaluations:
            continue
        beside = rows[best.omega, best.sampler, point.num_samples]
        own = point.at_full or point.scores
        over = max(own[name] / beside[name] for name in goal.objectives) - 1
        if over <= LOOSENESS * margin:
            excess[choice] = over
    by_cost: dict[int, SamplingChoice] = {}
    for choice in sorted(excess, key=lambda choice: (excess[choice], choice.evaluations)):
        by_cost.setdefault(choice.evaluations, choice)
    return sorted(list(by_cost.values())[:MAX_CHEAPER], key=lambda choice: choice.evaluations)


def _difference(theirs: ShotReport, ours: ShotReport, name: str) -> Interval:
    cheaper, best = (Estimate(each.scores[name], each.influence[name]) for each in (theirs, ours))
    return paired_interval(cheaper, best, ours.labels[name.partition("/")[2]])


def _preference(
    best: SamplingChoice, margin: float, differences: dict[str, Interval], reason: str
) -> CostPreference:
    return CostPreference(
        margin=margin,
        omega=best.omega,
        sampler=best.sampler,
        evaluations=best.evaluations,
        differences=differences,
        reason=reason,
    )


def _gain(
    best: SamplingChoice,
    choice: SamplingChoice,
    margin: float,
    differences: dict[str, Interval],
    scores: Scores,
) -> str:
    """Return what a cheaper choice spares and changes, in words."""
    parts = [
        f"{name} {interval.value / scores[name]:+.1%} "
        f"[{interval.low / scores[name]:+.1%}, {interval.high / scores[name]:+.1%}]"
        for name, interval in differences.items()
    ]
    return (
        f"{choice.evaluations:,} evaluations an image in place of {best.evaluations:,} "
        f"({best.sampler} at omega {best.omega:g}) change {' and '.join(parts)}, at most "
        f"{margin:.1%} (paired 95 % interval over samples)"
    )

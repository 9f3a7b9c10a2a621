"""When a trial is stopped at a rung, and which lead: pure functions of how many there are better.

Trials compare at equal rungs alone, for there they were scored on equally many samples and steps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from diffrop.search.config import Scheduler, StudyConfig
from diffrop.search.objectives import front_ranks
from diffrop.seeds import AUDIT, derive_seed

MEDIAN_MIN_OTHERS = 4
"""Fewer make no median that is worth a stop."""


@dataclass(frozen=True)
class Standing:
    """How one trial stands at one rung."""

    values: tuple[float, ...]
    """The objectives, the less the better."""
    violation: float = 0.0
    """By what share of their bounds its constraints are broken, in all; 0 if they are kept."""


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


def count_better(own: Standing, others: Sequence[Standing]) -> int:
    """Return how many come before a trial; equals do not."""
    mine, *theirs = sort_keys([own, *others])
    return sum(key < mine for key in theirs)


def sort_keys(standings: Sequence[Standing]) -> list[tuple[float, ...]]:
    """Return a key for each standing, the best one's being the least.

    Kept constraints come before broken ones, which are ordered by how far. One objective orders
    the rest; several do by fronts of non-dominated trials and, within a front, by crowding
    distance, the lonelier first (Deb et al., 2002).
    """
    if all(len(standing.values) == 1 for standing in standings):
        return [(s.violation, 0.0 if s.violation else s.values[0]) for s in standings]
    kept = [i for i, standing in enumerate(standings) if standing.violation == 0]
    keys: list[tuple[float, ...]] = [(standing.violation, 0.0, 0.0) for standing in standings]
    values = np.array([standings[i].values for i in kept], dtype=float)
    if kept:
        ranks = front_ranks(values)
        distances = _crowding(values, ranks)
        for i, rank, distance in zip(kept, ranks, distances, strict=True):
            keys[i] = (0.0, float(rank), -float(distance))
    return keys


def _crowding(values: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return each row's distance to its neighbours in its front; infinite at a front's ends."""
    distances = np.zeros(len(values))
    for rank in np.unique(ranks):
        front = np.flatnonzero(ranks == rank)
        for column in values[front].T:
            order = np.argsort(column, kind="stable")
            sorted_values = column[order]
            width = sorted_values[-1] - sorted_values[0]
            gaps = np.full(len(front), np.inf)
            if width > 0:
                gaps[1:-1] = (sorted_values[2:] - sorted_values[:-2]) / width
            distances[front[order]] += gaps
    return distances


def choose_leaders(
    values: Mapping[int, Sequence[float]], count: int, feasible: Iterable[int] | None = None
) -> list[int]:
    """Return the numbers of the trials to confirm, the most promising first.

    By one objective they are the first few. By several they are of the Pareto front: its best by
    the first objective, then its knee (the point that is nearest to the best of each objective,
    each scaled to the front's range), then the others by the first objective; and after the front
    the next one. Trials that break a constraint come only after those that keep all.

    Args:
        values: the objectives of each ranked trial, by number, without the baseline.
        count: how many.
        feasible: numbers of the trials that keep the constraints; None if there are none.
    """
    kept = set(values if feasible is None else feasible)
    chosen: list[int] = []
    for group in ([n for n in values if n in kept], [n for n in values if n not in kept]):
        if group:
            table = np.array([values[number] for number in group])
            ranks = front_ranks(table)
            for rank in range(int(ranks.max()) + 1):
                places = np.flatnonzero(ranks == rank)
                chosen += _along_front([(group[i], table[i]) for i in places])
    return chosen[:count]


def _along_front(front: list[tuple[int, np.ndarray]]) -> list[int]:
    """Order a front: its best by the first objective, its knee, the rest."""
    ordered = [number for number, row in sorted(front, key=lambda item: (item[1][0], item[0]))]
    rows = np.array([row for _, row in front])
    span = np.ptp(rows, axis=0)
    scaled = (rows - rows.min(axis=0)) / np.where(span > 0, span, 1)
    knee = front[int(np.square(scaled).sum(axis=1).argmin())][0]
    return list(dict.fromkeys([ordered[0], knee, *ordered]))


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

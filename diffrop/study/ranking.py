"""The order of trials: by constraints, then by objectives or Pareto fronts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffrop.study.objectives import front_ranks


@dataclass(frozen=True)
class RankedScore:
    """How one trial stands at one rung."""

    values: tuple[float, ...]
    """The objectives; lower is better."""
    violation: float = 0.0
    """By what share of their bounds its constraints are broken, in all; 0 if they are kept."""


def count_better(own: RankedScore, others: Sequence[RankedScore]) -> int:
    """Return how many come before a trial; equals do not."""
    mine, *theirs = sort_keys([own, *others])
    return sum(key < mine for key in theirs)


def sort_keys(scores: Sequence[RankedScore]) -> list[tuple[float, ...]]:
    """Return a key for each score, the best one's being the least.

    Kept constraints come before broken ones, which are ordered by how far. One objective orders
    the rest; several do by fronts of non-dominated trials and, within a front, by crowding
    distance, the lonelier first (Deb et al., 2002).
    """
    if all(len(score.values) == 1 for score in scores):
        return [(s.violation, 0.0 if s.violation else s.values[0]) for s in scores]
    kept = [i for i, score in enumerate(scores) if score.violation == 0]
    keys: list[tuple[float, ...]] = [(score.violation, 0.0, 0.0) for score in scores]
    values = np.array([scores[i].values for i in kept], dtype=float)
    if kept:
        ranks = front_ranks(values)
        distances = _crowding(values, ranks)
        for i, rank, distance in zip(kept, ranks, distances, strict=True):
            keys[i] = (0.0, float(rank), -float(distance))
    return keys


def order_in_words(objectives: Sequence[str], constrained: bool) -> str:
    """Return by what `sort_keys` orders trials, to stand behind "ranked by"."""
    order = objectives[0] if len(objectives) == 1 else f"the fronts of {' and '.join(objectives)}"
    return f"{order}, first those that keep the constraints" if constrained else order


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

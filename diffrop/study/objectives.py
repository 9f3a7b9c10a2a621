"""What makes one score better than another: objectives, constraints and the Pareto front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from diffrop.constraints import Constraint, Scores, violations

BaselineScores = Mapping[int, Scores]
"""The baseline's scores by number of samples, for FIDs of equal N alone compare."""


@dataclass(frozen=True)
class Goal:
    """What a checkpoint's sampling choice is chosen by."""

    objectives: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    num_samples: int
    """The full N, which bounds in plain numbers are meant for."""
    baseline: BaselineScores | None = None
    """None while it is unknown, and for the baseline: constraints that need it then wait."""

    def ranking(self, rows: Sequence[Scores], num_samples: int) -> list[int]:
        """Return the positions of `rows`, all scored on `num_samples`, best first.

        Those that keep the constraints come first: by fronts of non-dominated ones and, within a
        front, by the sum of the objectives' logarithms, which no unit sways. The others follow by
        the sum of what they break. A bound in plain numbers is not judged on fewer samples, where
        scores are only estimates of those at the full N: there its score counts as one more
        objective.
        """
        _, also = self._judged(num_samples)
        names = list(dict.fromkeys((*self.objectives, *also)))
        values = np.array([[row[name] for name in names] for row in rows]).reshape(len(rows), -1)
        broken = np.array([self.broken(row, num_samples) for row in rows])
        kept = broken == 0
        ranks = np.full(len(rows), len(rows))
        ranks[kept] = front_ranks(values[kept])
        logs = np.log(np.maximum(values, np.finfo(float).tiny)).sum(axis=1)
        return [int(i) for i in np.lexsort((logs, ranks, broken))]

    def broken(self, scores: Scores, num_samples: int) -> float:
        """Return by how much scores break the constraints that can be judged at an N."""
        known, _ = self._judged(num_samples)
        base = None if self.baseline is None else self.baseline.get(num_samples)
        return sum(max(0.0, excess) for excess in violations(scores, base, known))

    def _judged(self, num_samples: int) -> tuple[list[Constraint], list[str]]:
        """Return the constraints that can be judged at an N, and the scores of those that wait."""
        known, also = [], []
        for constraint in self.constraints:
            if not constraint.to_baseline:
                judged = num_samples == self.num_samples
            elif self.baseline is None:
                continue
            else:
                judged = num_samples in self.baseline
            if judged:
                known.append(constraint)
            else:
                also.append(constraint.score)
        return known, also


def front_ranks(values: np.ndarray) -> np.ndarray:
    """Return for each row (n, m) how many fronts lie before its own; 0 is the Pareto front.

    Less is better. Equal rows do not dominate each other.
    """
    dominates = _dominates(values)
    num_before = dominates.sum(axis=0)  # by rows that are in no front yet
    ranks = np.zeros(len(values), dtype=int)
    left = np.ones(len(values), dtype=bool)
    for rank in range(len(values)):
        first = left & (num_before == 0)
        ranks[first] = rank
        left &= ~first
        if not left.any():
            break
        num_before -= dominates[first].sum(axis=0)
    return ranks


def _on_front(values: np.ndarray) -> np.ndarray:
    """Return which rows (n, m) no other dominates: at any n at once, unlike all the ranks."""
    if values.shape[1] == 1:
        found: np.ndarray = values[:, 0] == values[:, 0].min(initial=np.inf)
        return found
    return np.asarray(~_dominates(values).any(axis=0))


def _dominates(values: np.ndarray) -> np.ndarray:
    """Return whether row i dominates row j, (n, n): no worse anywhere, and better somewhere."""
    no_worse = np.ones((len(values), len(values)), dtype=bool)
    for column in values.T:
        no_worse &= column[:, None] <= column
    return no_worse & ~no_worse.T


@dataclass(frozen=True)
class FrontPoint:
    """The scores of one trial at one sampling choice, on the full N."""

    number: int
    omega: float
    sampler: str
    scores: Scores
    feasible: bool | None = None
    """Whether it keeps the constraints; None where that takes unknown scores of the baseline."""
    front: bool = False
    """Whether no other feasible point is better in all objectives."""
    num_samples: int | None = None
    """Over all classes."""
    extractor: str = ""
    reference: str = ""
    images_seen: int | None = None


def pareto_front(
    points: Sequence[FrontPoint],
    objectives: Sequence[str],
    constraints: Sequence[Constraint] = (),
    baseline: Scores | None = None,
) -> list[FrontPoint]:
    """Return the points of a study with the Pareto front marked.

    Args:
        points: one for each trial and sampling choice.
        objectives: names of scores; lower is better.
        constraints: a point that breaks one is not feasible, and never on the front.
        baseline: the baseline's scores at the full N; without them a constraint that needs them
            leaves `feasible` unknown, and the front empty.
    """
    judged = baseline is not None or not any(c.to_baseline for c in constraints)
    feasible = [
        max(violations(point.scores, baseline, constraints), default=0.0) <= 0 if judged else None
        for point in points
    ]
    kept = np.array([flag is True for flag in feasible], dtype=bool)
    on_front = np.zeros(len(points), dtype=bool)
    values = np.array([[point.scores[name] for name in objectives] for point in points], float)
    if kept.any():
        on_front[kept] = _on_front(values[kept])
    return [
        replace(point, feasible=flag, front=bool(front))
        for point, flag, front in zip(points, feasible, on_front, strict=True)
    ]

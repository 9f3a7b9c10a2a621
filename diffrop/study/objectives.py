"""What makes one score better than another: objectives, constraints and the Pareto front."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from diffrop.schema import require

Scores = Mapping[str, float]
"""Scores of one checkpoint and sampling choice, by `metric/group`."""


BaselineScores = Mapping[int, Scores]
"""The baseline's scores by number of samples, for FIDs of equal N alone compare."""


NUMBER = r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)"


CONSTRAINT = re.compile(
    rf"(?P<score>\S+)\s*<=\s*(?:(?P<base>baseline)(?:\s*\+\s*{NUMBER}\s*(?P<percent>%)?)?"
    rf"|{NUMBER})"
)


GRAMMAR = "'SCORE <= NUMBER', or 'SCORE <= baseline' with '+ NUMBER' or '+ NUMBER%' behind it"


@dataclass(frozen=True)
class Constraint:
    """`score` is at most `margin`, or the baseline's score plus `margin` (or so many per cent)."""

    text: str
    score: str
    margin: float
    to_baseline: bool
    percent: bool

    def bound(self, baseline: Scores | None) -> float | None:
        """Return what the score is at most, None if that takes an unknown baseline."""
        if not self.to_baseline:
            return self.margin
        if baseline is None:
            return None
        value = baseline[self.score]
        return value * (1 + self.margin / 100) if self.percent else value + self.margin


def parse_constraints(texts: Sequence[str]) -> tuple[Constraint, ...]:
    """Parse constraints such as "fid/many <= baseline + 5%" and "fid/all <= 40".

    Raises:
        ValueError: one is of another form, its score no FID, or its bound 0.
    """
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Constraint:
    found = CONSTRAINT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"constraint is {text!r}; allowed: {GRAMMAR}")
    score, to_baseline = found["score"], found["base"] is not None
    require(re.fullmatch(r"fid/\w+", score) is not None, "constraint's score", score, "fid/GROUP")
    margin = float(found[3] or found[5] or 0)
    finite = math.isfinite(margin) and (to_baseline or margin > 0)
    require(finite, f"bound of {text!r}", margin, "a finite number, more than 0")
    return Constraint(text, score, margin, to_baseline, found["percent"] is not None)


def check_constraints(texts: Sequence[str], known: Sequence[str]) -> None:
    """Raise ValueError unless the constraints can be read and their scores are all `known`."""
    for constraint in parse_constraints(texts):
        require(
            constraint.score in known, "constraint's score", constraint.score, ", ".join(known)
        )


def violations(
    scores: Scores, baseline: Scores | None, constraints: Sequence[Constraint]
) -> list[float]:
    """Return by what share of its bound each constraint is broken; 0 or less where it is kept.

    Args:
        scores: of the one that is judged.
        baseline: the baseline's scores at the same N; its own for the baseline itself.
        constraints: as parsed.

    Raises:
        ValueError: a constraint refers to the baseline, whose scores are unknown.
    """
    found = []
    for constraint in constraints:
        bound = constraint.bound(baseline)
        if bound is None:
            raise ValueError(
                f"{constraint.text!r} needs the baseline's scores; allowed: scores at the same N"
            )
        found.append(scores[constraint.score] / bound - 1)
    return found


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
        the sum of what they break. A bound in plain numbers says nothing at fewer samples, where
        every FID is larger: there its score counts as one more objective.
        """
        known, also = self._judged(num_samples)
        names = list(dict.fromkeys((*self.objectives, *also)))
        values = np.array([[row[name] for name in names] for row in rows]).reshape(len(rows), -1)
        base = None if self.baseline is None else self.baseline.get(num_samples)
        broken = np.array(
            [sum(max(0.0, excess) for excess in violations(row, base, known)) for row in rows]
        )
        kept = broken == 0
        ranks = np.full(len(rows), len(rows))
        ranks[kept] = front_ranks(values[kept])
        logs = np.log(np.maximum(values, np.finfo(float).tiny)).sum(axis=1)
        return [int(i) for i in np.lexsort((logs, ranks, broken))]

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


def pareto_front(
    points: Sequence[Mapping[str, Any]],
    objectives: Sequence[str],
    constraints: Sequence[Constraint] = (),
    baseline: Scores | None = None,
) -> pd.DataFrame:
    """Return the points of a study as front.csv holds them, with the Pareto front marked.

    Args:
        points: one a trial and sampling choice, scored on the full N: {"number", "omega",
            "sampler", "scores"}, as `ScoreCard.points` gives them.
        objectives: the less the better.
        constraints: a point that breaks one is not feasible, and never on the front.
        baseline: the baseline's scores at the full N; without them a constraint that needs them
            leaves `feasible` empty, and the front too.

    Returns:
        number, omega, sampler, a column each objective and constrained score, feasible, front.
    """
    names = list(dict.fromkeys((*objectives, *(c.score for c in constraints))))
    frame = pd.DataFrame(
        [
            {key: point[key] for key in ("number", "omega", "sampler")}
            | {name: point["scores"][name] for name in names}
            for point in points
        ],
        columns=["number", "omega", "sampler", *names],
    )
    judged = baseline is not None or not any(c.to_baseline for c in constraints)
    feasible = [
        max(violations(point["scores"], baseline, constraints), default=0.0) <= 0
        if judged
        else None
        for point in points
    ]
    kept = np.array([flag is True for flag in feasible], dtype=bool)
    on_front = np.zeros(len(frame), dtype=bool)
    values = frame[list(objectives)].to_numpy(dtype=float)
    on_front[kept] = _on_front(values[kept])
    return frame.assign(feasible=pd.Series(feasible, dtype=object), front=on_front)

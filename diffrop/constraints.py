"""Constraints on scores, such as "fid/many <= baseline + 5%": their grammar, and how they bind."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from diffrop.schema import FieldError, require, short

Scores = Mapping[str, float]
"""Scores of one checkpoint and sampling choice, by `metric/group`."""

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


@lru_cache(maxsize=64)
def parse_constraints(texts: tuple[str, ...]) -> tuple[Constraint, ...]:
    """Parse constraints such as "fid/many <= baseline + 5%" and "fid/all <= 40".

    Raises:
        ValueError: one is of another form, its score no FID, or its bound 0.
    """
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Constraint:
    found = CONSTRAINT.fullmatch(text.strip())
    if found is None:
        raise FieldError("constraints", f"is {short(text)}; allowed: {GRAMMAR}")
    score, to_baseline = found["score"], found["base"] is not None
    require(re.fullmatch(r"fid/\w+", score) is not None, "constraints", text, "a score fid/GROUP")
    margin = float(found[3] or found[5] or 0)
    finite = math.isfinite(margin) and (to_baseline or margin > 0)
    require(finite, "constraints", text, "a bound that is finite and more than 0")
    return Constraint(text, score, margin, to_baseline, found["percent"] is not None)


def check_constraints(texts: tuple[str, ...], known: Sequence[str]) -> None:
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

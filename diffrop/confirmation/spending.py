"""How the error of a confirmation is spent over looks at a growing number of seeds.

A near-tie is looked at with S, S + 1, ... seeds. Its intervals are repeated confidence intervals:
all of them hold the expected difference at once, but with the error that is given (Jennison and
Turnbull, Group Sequential Methods, 2000, chapter 9). Whoever looks at some of the seeds' numbers
only, and chooses which by what was seen, is covered too.

Where a training of the baseline fails, the looks after it have a seed less than their levels are
made for. Each interval by itself has its level all the same, and together they stay close to it.

A spending function says how much of the error is spent by each look (Lan and DeMets, Biometrika
70, 1983). The level of each look follows from it for Student's t with an unknown variance, without
an approximation by the normal distribution, which a few seeds would not bear.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

Array = npt.NDArray[np.float64]


NUM_CELLS = 200
"""Of the grid over a look's statistic; with twice as many, levels change by less than 2 %."""


SpendingRule = Callable[[float, int, int], tuple[float, ...]]
"""Makes of an error, and of the first and last number of seeds, the level of each look."""


def half_then_equal(error: float, first: int, last: int) -> tuple[float, ...]:
    """Spend a half at the first look, which clear effects need, and the rest in equal parts."""
    looks = last - first + 1
    spent = [error * (looks - 2 + look) / (2 * looks - 2) for look in range(1, looks)]
    return exact_levels([*spent, error], first)


def geometric(error: float, first: int, last: int) -> tuple[float, ...]:
    """Spend a half, a quarter, ... and at the last look what is left, added up (Bonferroni).

    That the looks share their seeds, and miss together, is not made use of.
    """
    steps = last - first
    return tuple(error * 0.5 ** min(look + 1, steps) for look in range(steps + 1))


SPENDING = "half_then_equal"
"""The rule of confirmations that begin; benchmarks/confirmation_power.py compares it."""


RULES: Mapping[str, SpendingRule] = {
    "half_then_equal": half_then_equal,
    "geometric": geometric,
}
"""By the name that confirm.json has; confirmations of earlier versions are geometric."""


@cache
def look_levels(rule: str, error: float, first: int, last: int) -> tuple[float, ...]:
    """Return the error that the interval of each look may have by itself.

    Args:
        rule: one of `RULES`.
        error: that all looks together may have, two-sided.
        first: seeds of the first look, at least 2.
        last: seeds of the last look.
    """
    return RULES[rule](error, first, last)


def exact_levels(spent: Sequence[float], first: int) -> tuple[float, ...]:
    """Return the level of each look at which t-intervals miss together just as often as is asked.

    Let x_1, x_2, ... be differences less what is expected of them: normal, independent, of one
    unknown variance, and a_n = (x_1 + ... + x_n) / sqrt(x_1^2 + ... + x_n^2). With the angle
    for which a_n = sqrt(n) sin(angle), Student's t is sqrt(n - 1) tan(angle). The direction of
    (x_1, ..., x_n) does not depend on its length (Basu's theorem), so that a_n is a Markov chain
    without parameters:

        a_(n + 1) = (a_n + r) / sqrt(1 + r^2),  where sqrt(n) r has Student's t of n degrees.

    Its distribution where no look has missed yet is carried from look to look on a grid.

    Args:
        spent: by each look, the error of this and all looks before, two-sided; increasing.
        first: seeds of the first look, at least 2.
    """
    edge = float(np.arctan(-stdtrit(first - 1, spent[0] / 2) / (first - 1) ** 0.5))
    levels = [spent[0]]
    angles = np.linspace(0, edge, NUM_CELLS + 1)
    weights = np.diff(1 - _level(angles, first))
    for seeds, missing in enumerate(np.diff(spent), start=first + 1):
        before = (seeds - 1) ** 0.5 * np.sin((angles[1:] + angles[:-1]) / 2)
        edge = _edge(before, weights, float(missing), seeds)
        levels.append(float(_level(edge, seeds)))
        angles = np.linspace(0, edge, NUM_CELLS + 1)
        weights = weights @ np.diff(_within(before[:, None], angles, seeds))
    return tuple(levels)


def _level(angle: Array | float, seeds: int) -> Array:
    """Return the chance that the angle of so many seeds is larger, on either side."""
    degrees = seeds - 1
    found: Array = 2 * stdtr(degrees, -(degrees**0.5) * np.tan(angle))
    return found


def _edge(before: Array, weights: Array, missing: float, seeds: int) -> float:
    """Return the angle beyond which a share `missing` of all runs lies that have not missed yet.

    Args:
        before: a_(n - 1), shape (C,).
        weights: the share of the runs at each, shape (C,).
        missing: as a share of all runs.
        seeds: n.
    """

    def excess(angle: float) -> float:
        return float(weights @ (1 - _within(before, angle, seeds))) - missing

    return float(brentq(excess, 0, np.pi / 2, xtol=1e-14))


def _within(before: Array, angle: Array | float, seeds: int) -> Array:
    """Return the chance that the next angle, of n seeds, is at most `angle` on either side.

    With r = tan(turn) and a_(n - 1) = tan(start), a_n = sqrt(1 + a_(n - 1)^2) sin(start + turn).

    Args:
        before: a_(n - 1), not negative, broadcast with `angle`.
        angle: from 0 to pi / 2.
        seeds: n.
    """
    start = np.arctan(before)
    bound = np.arcsin(np.minimum(seeds**0.5 * np.sin(angle) / np.sqrt(1 + before**2), 1))

    def turned_less(turn: Array) -> Array:
        inside = np.clip(turn, -np.pi / 2, np.pi / 2)
        found: Array = stdtr(seeds - 1, (seeds - 1) ** 0.5 * np.tan(inside))
        return found

    return (
        turned_less(bound - start)
        - turned_less(-bound - start)
        + 1
        - turned_less(np.pi - bound - start)
    )

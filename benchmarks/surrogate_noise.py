"""The noise of a landscape: of the training and of the samples, shared by trainings or not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

STEPS = ((60, 125), (125, 250), (250, 500), (500, 1_000))
"""Prefixes of a draw whose difference shows the sampling noise."""


@dataclass(frozen=True)
class Noise:
    """Covariances of the log of the objective; outputs are ordered by rung, then by omega."""

    training: np.ndarray
    """(outputs, outputs): a training's own part; two that share their draws differ by it alone."""
    training_shared: np.ndarray
    """(outputs, outputs): of all trainings that share their draws and seed."""
    own_observed: np.ndarray
    """The own part with that of the sampling noise of the table's rows."""
    freedom: tuple[int, int]
    """Degrees of freedom behind the own and the shared part."""
    sampling: np.ndarray
    """(rungs, omegas, omegas), of one sample: that of N samples is a share 1 / N of it."""
    sampling_shared: np.ndarray
    """The same, of all draws of a seed, which start from the same noise."""


@dataclass(frozen=True)
class TwoWay:
    """A fit of point + draws."""

    means: pd.DataFrame
    """A row a point."""
    residuals: np.ndarray
    """(trainings, columns), scaled to the variance of a training's own part."""
    draws: np.ndarray
    """(classes of draws x seeds, columns): effects of each, scaled likewise, about 0 within a
    class; with a share of the own part, as many trainings as there are behind each."""
    trainings_per_draw: float
    freedom: tuple[int, int]
    """Degrees of freedom of residuals and draws."""


def fit_two_way(whole: pd.DataFrame) -> TwoWay:
    """Fit point + draws by least squares, for each column.

    Args:
        whole: a row a training; its index is the point, "draws" (what changes the draws, as a
            text) and "seed". Nothing is missing.
    """
    codes, names = whole.index.get_level_values(0).factorize()
    classes, _ = whole.index.get_level_values("draws").factorize()
    pairs = pd.MultiIndex.from_arrays([classes, whole.index.get_level_values("seed")])
    draw_codes, draws = pairs.factorize()
    of_class = np.array([pair[0] for pair in draws])
    x = np.hstack([np.eye(len(names))[codes], np.eye(len(draws))[draw_codes]])
    # The draws of a class sum to 0: what they have in common is the points'.
    sums = np.eye(of_class.max() + 1)[:, of_class]
    zeros = np.zeros((len(sums), len(names)))
    y = np.vstack([whole.to_numpy(), np.zeros((len(sums), whole.shape[1]))])
    solved = np.linalg.lstsq(np.vstack([x, np.hstack([zeros, sums])]), y, rcond=None)[0]
    own_freedom = len(whole) - int(np.linalg.matrix_rank(x))
    residuals = (whole.to_numpy() - x @ solved) * math.sqrt(len(whole) / max(1, own_freedom))
    shared_freedom = len(draws) - len(sums)
    effects = solved[len(names) :] * math.sqrt(len(draws) / max(1, shared_freedom))
    means = pd.DataFrame(solved[: len(names)], index=names, columns=whole.columns)
    return TwoWay(
        means, residuals, effects, len(whole) / len(draws), (own_freedom, shared_freedom)
    )


def fit_noise(scored: pd.DataFrame, objective: str, two_way: TwoWay) -> Noise:
    """Split the noise of a table.

    Args:
        scored: its rows, as `landscape_table.to_frame` returns them.
        objective: the column of the scores.
        two_way: fit of its trainings of which there are several seeds.
    """
    own, shared, drawn = [], [], []
    for _, rows in scored.groupby("images"):
        steps = _steps(rows, objective)
        centers = steps.groupby(["seed", "step"]).transform("mean")
        number = steps.groupby(["seed", "step"]).transform("size")
        kept = number > 1
        inside = (steps - centers)[kept].mul(np.sqrt(number / (number - 1))[kept], axis=0)
        own.append(covariance(inside.to_numpy()))
        shared.append(covariance(steps.groupby(["seed", "step"]).mean().to_numpy()))
        inverse = 1 / rows.loc[rows["sampling_s"].notna(), "num_samples"]
        drawn.append(own[-1] * float(inverse.mean()))
    observed = covariance(two_way.residuals)
    return Noise(
        positive(observed - _blocks(drawn)),
        positive(covariance(two_way.draws) - observed / two_way.trainings_per_draw),
        observed,
        two_way.freedom,
        np.array(own),
        np.array(shared),
    )


def _steps(rows: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Return log score of the first N less that of the first M, less the median, of variance v.

    v is the sampling variance of one sample: that of such a difference is v (1 / N - 1 / M).
    """
    wide = rows.pivot_table(
        index=["point", "seed"], columns=["num_samples", "omega"], values=objective
    )
    found = {}
    for fewer, more in STEPS:
        if fewer in wide and more in wide:
            step = (np.log(wide[fewer]) - np.log(wide[more])).dropna()
            found[fewer] = (step - step.median()) / math.sqrt(1 / fewer - 1 / more)
    return pd.concat(found, names=["step"])


def covariance(rows: np.ndarray) -> np.ndarray:
    """Return the mean outer product of rows (n, d) about 0."""
    found: np.ndarray = rows.T @ rows / len(rows)
    return found


def positive(matrix: np.ndarray) -> np.ndarray:
    """Return the nearest covariance: what is negative along an axis becomes 0."""
    values, vectors = np.linalg.eigh(matrix)
    found: np.ndarray = (vectors * np.maximum(values, 0)) @ vectors.T
    return found


def root(matrix: np.ndarray) -> np.ndarray:
    """Return r with r r^T = `matrix`, a covariance that may be singular."""
    values, vectors = np.linalg.eigh(matrix)
    found: np.ndarray = vectors * np.sqrt(np.maximum(values, 0))
    return found


def _blocks(parts: Sequence[np.ndarray]) -> np.ndarray:
    size = len(parts[0])
    found = np.zeros((size * len(parts), size * len(parts)))
    for i, part in enumerate(parts):
        found[i * size : (i + 1) * size, i * size : (i + 1) * size] = part
    return found

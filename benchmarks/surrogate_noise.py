"""The noise of the digits grid: of the training and of the samples, shared by a seed or not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

STEPS = ((60, 125), (125, 250), (250, 500), (500, 1_000))
"""Prefixes of a draw whose difference shows the sampling noise."""


@dataclass(frozen=True)
class Noise:
    """Covariances of log FID; outputs are ordered by rung, then by omega."""

    training: np.ndarray
    """(outputs, outputs): a training's own part."""
    training_shared: np.ndarray
    """(outputs, outputs): of all trainings of a seed, which share start and data."""
    training_observed: np.ndarray
    """The own part with the sampling noise of the grid's rows."""
    sampling: np.ndarray
    """(rungs, omegas, omegas), of one sample: that of N samples is a share 1 / N of it."""
    sampling_shared: np.ndarray
    """The same, of all draws of a seed, which start from the same noise."""


def fit_two_way(
    whole: pd.DataFrame,
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Fit point + seed by least squares, for each column.

    Args:
        whole: a row a training; its index is the point and "seed". Nothing is missing.

    Returns:
        Means of the points over the seeds; residuals (trainings, columns), scaled to the variance
        of a training; effects of the seeds (seeds, columns).
    """
    points = whole.reset_index("seed", drop=True)
    codes, names = points.index.factorize()
    seed_codes, numbers = whole.index.get_level_values("seed").factorize()
    x = np.hstack([np.eye(len(names))[codes], np.eye(len(numbers))[seed_codes]])
    sums = np.concatenate([np.zeros(len(names)), np.ones(len(numbers))])
    y = np.vstack([whole.to_numpy(), np.zeros((1, whole.shape[1]))])  # the seeds' sum is 0
    solved = np.linalg.lstsq(np.vstack([x, sums]), y, rcond=None)[0]
    freedom = max(1, len(whole) - x.shape[1] + 1)
    residuals = (whole.to_numpy() - x @ solved) * math.sqrt(len(whole) / freedom)
    means = pd.DataFrame(solved[: len(names)], index=names, columns=whole.columns)
    return means, residuals, solved[len(names) :]


def fit_noise(
    scored: pd.DataFrame, residuals: np.ndarray, seeds: np.ndarray, point: Sequence[str]
) -> Noise:
    """Split the noise of the grid.

    Args:
        scored: its rows.
        residuals: as `fit_two_way` returns them.
        seeds: the same.
        point: names of the columns that make a point.
    """
    own, shared, drawn = [], [], []
    for _, rows in scored.groupby("images"):
        steps = _steps(rows, point)
        centers = steps.groupby(["seed", "step"]).transform("mean")
        number = steps.groupby(["seed", "step"]).transform("size")
        kept = number > 1
        inside = (steps - centers)[kept].mul(np.sqrt(number / (number - 1))[kept], axis=0)
        own.append(covariance(inside.to_numpy()))
        shared.append(covariance(steps.groupby(["seed", "step"]).mean().to_numpy()))
        inverse = 1 / rows.loc[rows["sampling_s"].notna(), "num_samples"]
        drawn.append(own[-1] * float(inverse.mean()))
    observed = covariance(residuals)
    return Noise(
        positive(observed - _blocks(drawn)),
        positive(covariance(seeds) - observed / max(1, len(residuals) // len(seeds))),
        observed,
        np.array(own),
        np.array(shared),
    )


def _steps(rows: pd.DataFrame, point: Sequence[str]) -> pd.DataFrame:
    """Return log FID of the first N less that of the first M, less the median, of variance v.

    v is the sampling variance of one sample: that of such a difference is v (1 / N - 1 / M).
    """
    wide = rows.pivot_table(
        index=[*point, "seed"], columns=["num_samples", "omega"], values="fid/all"
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

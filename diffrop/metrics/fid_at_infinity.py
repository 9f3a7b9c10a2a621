"""FID without its bias, extrapolated to infinitely many samples (Chong and Forsyth, 2020)."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from diffrop.metrics.checks import check_features
from diffrop.metrics.frechet import GaussianStatistics, fitted, frechet_distance


@dataclass(frozen=True)
class FidInfinity:
    """The straight line FID = value + slope / N and the points that it was fitted to."""

    value: float
    """FID at 1/N = 0."""
    standard_error: float
    """Standard error of `value`, from the scatter of the points about the line. They share
    samples, so that this is no interval over samples."""
    slope: float
    num_samples: tuple[int, ...]
    fids: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def fid_infinity(
    features: Tensor,
    reference: Tensor | GaussianStatistics,
    *,
    num_points: int = 15,
    smallest_share: float = 0.1,
    seed: int = 0,
) -> FidInfinity:
    """Fit FID against 1/N by least squares over random subsets, and return where it meets 0.

    The bias is that of the samples alone: the reference's own number of images stays. For N below
    about D the points bend, and the line overshoots.

    Args:
        features: of the samples (N, D).
        reference: features (N_ref, D), or their fit.
        num_points: subsets, their sizes evenly spaced up to N.
        smallest_share: size of the smallest subset over N.
        seed: of the subsets.

    Raises:
        ValueError: fewer than three points, or subsets of fewer than two images.
    """
    check_features(features, "features", at_least=2)
    count = len(features)
    sizes = np.linspace(smallest_share * count, count, num_points).round().astype(int)
    if num_points < 3 or sizes[0] < 2 or smallest_share >= 1:
        raise ValueError(
            f"{num_points} points from {sizes[0]} of {count} samples; allowed: at least 3 points "
            "of 2 samples and more, from a share below 1"
        )
    fit = fitted(reference)
    rng = torch.Generator().manual_seed(seed)
    fids = []
    for size in sizes:
        rows = torch.randperm(count, generator=rng)[: int(size)]
        fids.append(frechet_distance(features[rows.to(features.device)], fit))
    line = scipy.stats.linregress(1 / sizes, fids)
    return FidInfinity(
        value=float(line.intercept),
        standard_error=float(line.intercept_stderr),
        slope=float(line.slope),
        num_samples=tuple(int(size) for size in sizes),
        fids=tuple(fids),
    )

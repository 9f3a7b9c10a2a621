"""The Frechet distance between Gaussian fits of two sets of features (Heusel et al., 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianStatistics:
    """Mean (D,) and covariance (D, D) of features, float64, and how many images they came from."""

    mean: Tensor
    covariance: Tensor
    count: int
    factor: Tensor | None
    """(N, D) with covariance = factor^T factor; only where N < D, where it saves work."""


def gaussian_statistics(features: Tensor, weights: Tensor | None = None) -> GaussianStatistics:
    """Fit a Gaussian.

    Args:
        features: (N, D), any float dtype; computed in float64.
        weights: (N,), sum 1; None weighs all alike. The covariance is the unbiased one for
            reliability weights, which is the ordinary N - 1 one at equal weights.

    Raises:
        ValueError: fewer than two images, or a row that is not finite.
    """
    count = features.shape[0]
    if count < 2:
        raise ValueError(f"{count} image(s) for a covariance; allowed: at least 2")
    x = features.double()
    bad = (~torch.isfinite(x).all(dim=1)).nonzero()
    if len(bad):
        raise ValueError(f"features of image {int(bad[0])} are not finite")
    if weights is None:
        weights = x.new_full((count,), 1 / count)
    weights = weights.to(x)
    mean = weights @ x
    factor = (weights / (1 - weights.square().sum())).sqrt().unsqueeze(1) * (x - mean)
    small = count < x.shape[1]
    return GaussianStatistics(mean, factor.T @ factor, count, factor if small else None)


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """Return |m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

    The trace of the root is the sum of the roots of the eigenvalues of a symmetric matrix that
    has those of S_a S_b: F_a S_b F_a^T where S_a = F_a^T F_a has fewer rows than columns, and
    otherwise S_a^(1/2) S_b S_a^(1/2). FID is biased by about 1/N: compare equal N only.
    """
    if a.factor is None and b.factor is not None:
        a, b = b, a
    root = a.factor if a.factor is not None else _symmetric_root(a.covariance)
    product = root @ b.covariance @ root.T
    eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2)
    overlap = eigenvalues.clamp(min=0).sqrt().sum()
    shift = (a.mean - b.mean).square().sum()
    traces = a.covariance.trace() + b.covariance.trace()
    return float(shift + traces - 2 * overlap)


def _symmetric_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T

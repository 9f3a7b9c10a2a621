"""The Frechet distance between Gaussian fits of two sets of features (Heusel et al., 2017)."""

from dataclasses import dataclass

import scipy.linalg
import torch
from torch import Tensor

from diffrop.metrics.checks import check_features


@dataclass(frozen=True)
class GaussianStatistics:
    """Mean and covariance of features, and how many images they came from."""

    mean: Tensor
    """(D,), float64."""
    factor: Tensor
    """(min(N, D), D), float64: the covariance is factor^T factor."""
    count: int | None
    """N; None where a file does not say it."""

    @classmethod
    def of_moments(
        cls, mean: Tensor, covariance: Tensor, count: int | None = None
    ) -> "GaussianStatistics":
        """Return the statistics of a mean (D,) and a covariance (D, D), of any float dtype."""
        return cls(mean.double(), _root(covariance.double()), count)

    @property
    def covariance(self) -> Tensor:
        """(D, D), float64."""
        return self.factor.T @ self.factor


def gaussian_statistics(features: Tensor, weights: Tensor | None = None) -> GaussianStatistics:
    """Fit a Gaussian.

    Args:
        features: (N, D), any float dtype and device; computed in float64.
        weights: (N,), sum 1; None weighs all alike. The covariance is the unbiased one for
            reliability weights, which is the ordinary N - 1 one at equal weights.

    Raises:
        ValueError: fewer than two images, or a row that is not finite.
    """
    check_features(features, "features", at_least=2)
    x = features.double()
    count, dim = x.shape
    mean, factor = centred_rows(x, weights)
    if count > dim:
        factor = _root(factor.T @ factor)
    return GaussianStatistics(mean, factor, count)


def centred_rows(x: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) of x (N, D) and rows F (N, D) with F^T F the unbiased covariance."""
    if weights is None:
        weights = x.new_full((len(x),), 1 / len(x))
    weights = weights.to(x)
    mean = weights @ x
    return mean, (weights / (1 - weights.square().sum())).sqrt().unsqueeze(1) * (x - mean)


def frechet_distance(
    samples: Tensor | GaussianStatistics, reference: Tensor | GaussianStatistics
) -> float:
    """Return |m_a - m_b|^2 + Tr(S_a + S_b - 2 (S_a S_b)^(1/2)).

    With S = F^T F the trace of the root is the sum of the singular values of F_a F_b^T, which are
    the roots of the eigenvalues of a symmetric matrix of min(N_a, N_b, D) rows: no square root of
    a matrix is taken. FID is biased by about 1/N: compare equal N only.

    Args:
        samples: features (N, D), or their fit.
        reference: the same of the reference.

    Raises:
        ValueError: features differ in D, are not finite, or are of fewer than two images.
    """
    a, b = fitted(samples), fitted(reference)
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"features have {len(a.mean)} and {len(b.mean)} values an image; allowed: the same"
        )
    shift = (a.mean - b.mean).square().sum()
    traces = a.factor.square().sum() + b.factor.square().sum()
    return float(shift + traces) - 2 * overlap(a, b)


def overlap(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """Return Tr (S_a S_b)^(1/2), the sum of the singular values of F_a F_b^T."""
    if len(b.factor) < len(a.factor):
        a, b = b, a
    product = a.factor @ b.factor.T
    return float(symmetric_eigenvalues(product @ product.T).clamp(min=0).sqrt().sum())


def symmetric_eigenvalues(matrix: Tensor) -> Tensor:
    """Return the eigenvalues of a symmetric matrix, ascending.

    On CPUs by SciPy's divide and conquer, which took a third of torch's time at 1,000 rows.
    """
    if matrix.is_cuda:
        return torch.linalg.eigvalsh(matrix)
    options = {"driver": "evd", "check_finite": False}
    return torch.from_numpy(scipy.linalg.eigh(matrix.numpy(), eigvals_only=True, **options))


def symmetric_eigenvectors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues of a symmetric matrix, ascending, and its eigenvectors."""
    if matrix.is_cuda:
        return torch.linalg.eigh(matrix)
    values, vectors = scipy.linalg.eigh(matrix.numpy(), driver="evd", check_finite=False)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def fitted(features: Tensor | GaussianStatistics) -> GaussianStatistics:
    """Return the fit of features (N, D), or the fit that was given."""
    return gaussian_statistics(features) if isinstance(features, Tensor) else features


def _root(covariance: Tensor) -> Tensor:
    """Return F (D, D) with F^T F = covariance: Cholesky's, or the eigenvectors' if singular."""
    lower, info = torch.linalg.cholesky_ex(covariance)
    if int(info) == 0:
        return lower.T
    values, vectors = symmetric_eigenvectors(covariance)
    return (vectors * values.clamp(min=0).sqrt()).T

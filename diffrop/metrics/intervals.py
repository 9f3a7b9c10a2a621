"""Confidence intervals over samples, from each sample's influence on a score.

An estimate that is a smooth function of a distribution moves, to first order, by the mean of its
influence function psi over the sample; its variance is that of this mean (Hampel, 1974). So one
decomposition gives an interval, where resampling would take hundreds. The percentile bootstrap is
not used: FID grows with repeated rows, so that its resamples lie above the estimate itself.

An interval is for the expected score of N samples of this model against this very reference: it
holds neither the bias of FID at N, nor the training seed, nor the choice of reference images.
"""

import dataclasses
import math
from dataclasses import dataclass

import scipy.stats
import torch
from torch import Tensor

from diffrop.metrics.frechet import (
    GaussianStatistics,
    centred_rows,
    fitted,
    gaussian_statistics,
    symmetric_eigenvectors,
)
from diffrop.metrics.interval import LEVEL, Interval

SINGULAR = 1e-12
"""Eigenvalues below this share of the largest count as zero."""


@dataclass(frozen=True)
class Estimate:
    """A score, and each sample's influence on it where that is known."""

    value: float
    influence: Tensor | None = None
    """psi (N,), up to a constant."""
    least: float = -math.inf
    most: float = math.inf
    """Bounds of the score, which no interval crosses."""

    def interval(self, labels: Tensor | None = None, level: float = LEVEL) -> Interval:
        """Return the interval of the score; see `influence_interval`.

        Raises:
            ValueError: the influence is unknown, or there are too few samples.
        """
        if self.influence is None:
            raise ValueError("the score has no influence; allowed: estimates with one")
        found = influence_interval(self.value, self.influence, labels, level)
        return dataclasses.replace(
            found, low=max(found.low, self.least), high=min(found.high, self.most)
        )


def influence_interval(
    value: float, influence: Tensor, labels: Tensor | None = None, level: float = LEVEL
) -> Interval:
    """Return the interval of a score from the influence of each of its samples.

    Args:
        value: the score.
        influence: psi (N,).
        labels: of the samples (N,), if they were drawn with a fixed number of each: then only the
            variance within the classes counts. A class with one sample is pooled with the others
            of one sample.
        level: of confidence; Student's t with N less the number of classes.

    Raises:
        ValueError: fewer than two samples more than classes, so that there is no variance.
    """
    count = len(influence)
    strata = strata_of(labels, count)
    sizes = torch.bincount(strata).double()
    freedom = count - len(sizes)
    if freedom < 1:
        raise ValueError(f"{count} samples of {len(sizes)} classes; allowed: two of a class")
    psi = influence.double().cpu()
    means = torch.zeros_like(sizes).index_add_(0, strata, psi) / sizes
    squares = torch.zeros_like(sizes).index_add_(0, strata, (psi - means[strata]).square())
    variance = (squares * sizes / (sizes - 1).clamp(min=1)).sum()
    error = float(variance.sqrt()) / count
    width = float(scipy.stats.t.ppf((1 + level) / 2, freedom)) * error
    return Interval(value, value - width, value + width, error, level, count)


def fid_estimate(features: Tensor, reference: GaussianStatistics) -> Estimate:
    """Return the Frechet distance and each sample's influence on it, from one decomposition.

    With centred samples z and the optimal transport map T from their fit to the reference's,

        psi = 2 (m - m_ref)^T z + N / (N - 1) (|z|^2 - z^T T z),   less its mean.

    For N < D there is no T, but z^T T z is read off the diagonal of (M M^T)^(1/2), M = F F_ref^T.

    Args:
        features: of the samples (N, D).
        reference: the fit of the reference.

    Raises:
        ValueError: as `gaussian_statistics`.
    """
    fit = gaussian_statistics(features)
    mean, rows = centred_rows(features.double())
    root = reference.factor.to(rows)
    if len(rows) <= len(root):
        product = rows @ root.T
        values, vectors = symmetric_eigenvectors(product @ product.T)
        transported = vectors.square() @ values.clamp(min=0).sqrt()
    else:
        product = fit.factor @ root.T
        values, vectors = symmetric_eigenvectors(product.T @ product)
        kept = values > SINGULAR * values[-1]
        half_map = root.T @ (vectors[:, kept] * values[kept].pow(-0.25))
        transported = (rows @ half_map).square().sum(dim=1)
    shift = mean - reference.mean.to(rows)
    linear = 2 * (len(rows) - 1) ** 0.5 * (rows @ shift)
    psi = linear + len(rows) * (rows.square().sum(dim=1) - transported)
    overlap = values.clamp(min=0).sqrt().sum()
    traces = fit.factor.square().sum() + root.square().sum()
    value = float(shift.square().sum() + traces - 2 * overlap)
    return Estimate(value, (psi - psi.mean()).cpu())


def fid_interval(
    features: Tensor,
    reference: Tensor | GaussianStatistics,
    labels: Tensor | None = None,
    level: float = LEVEL,
) -> Interval:
    """Return the Frechet distance with its interval over samples.

    Args:
        features: of the samples (N, D).
        reference: features (N_ref, D), or their fit; taken as fixed.
        labels: of the samples (N,), where their numbers were fixed.
        level: of confidence.

    Raises:
        ValueError: as `gaussian_statistics` and `influence_interval`.
    """
    return fid_estimate(features, fitted(reference)).interval(labels, level)


def paired_interval(
    ours: Estimate, baseline: Estimate, labels: Tensor | None = None, level: float = LEVEL
) -> Interval:
    """Return the difference of two scores with its interval, sample i paired with sample i.

    Sample i of both must come from the same noise and label (common random numbers): what they
    share then drops out of the difference.

    Args:
        ours: score and influence.
        baseline: what is subtracted; of as many samples.
        labels: of the samples (N,), where their numbers were fixed.
        level: of confidence.

    Raises:
        ValueError: an influence is missing, or the numbers of samples differ.
    """
    if ours.influence is None or baseline.influence is None:
        raise ValueError("a score has no influence; allowed: estimates with one")
    if len(ours.influence) != len(baseline.influence):
        counts = f"{len(ours.influence)} and {len(baseline.influence)} samples"
        raise ValueError(f"{counts} do not compare; allowed: equal N")
    influence = ours.influence - baseline.influence
    return influence_interval(ours.value - baseline.value, influence, labels, level)


def strata_of(labels: Tensor | None, count: int) -> Tensor:
    """Number the strata 0, 1, ...: one a class, and one for all classes of a single sample."""
    if labels is None:
        return torch.zeros(count, dtype=torch.int64)
    _, strata, sizes = labels.cpu().unique(return_inverse=True, return_counts=True)
    strata[(sizes == 1)[strata]] = len(sizes)
    return strata.unique(return_inverse=True)[1]

"""What a FID on few samples would be on more of them, expected over the samples.

FID falls with the number of samples, and the further the wider they spread: few samples favour a
candidate that spreads less. Two of its three terms are corrected exactly: the distance of the
means by the variance of a mean, and the trace of the covariance, which is unbiased. The third, the
overlap Tr (S S_ref)^(1/2), grows with N. For samples of a Gaussian its expectation follows from
the spectrum of the population in closed form, whether N is above the number of features D or
below, where the bias is not proportional to 1/N. Real images stand for the population: their
overlap grows by G = g(N) / g(n) from n samples to N. A candidate's growth is G^r, where r compares
its growth from n / 2 samples to n with theirs. So a candidate whose covariance is that of real
images times a constant is carried without bias, and others nearly so. Below a hundred samples r
would add more noise than it removes bias: there it is 1.
"""

import math
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from diffrop.metrics.frechet import (
    GaussianStatistics,
    gaussian_statistics,
    overlap,
    symmetric_eigenvalues,
)
from diffrop.metrics.intervals import strata_of

NEGLIGIBLE = 1e-12
"""Eigenvalues below this share of the largest count as zero."""
NUM_POINTS = 300
"""Of the integral over the resolvent."""
LEAST_TO_HALVE = 100
"""Samples of which the growth from half to all is known well enough to use it."""


def expected_overlap(spectrum: np.ndarray, num_samples: int) -> float:
    """Return E Tr (S_ref^(1/2) S S_ref^(1/2))^(1/2) for a covariance S of Gaussian samples.

    With eigenvalues h of the population's S_ref^(1/2) Sigma S_ref^(1/2) and n = N - 1 degrees of
    freedom, df(k) = sum h / (h + k) and z(k) = k (1 - df(k) / n), the trace of M (M + z)^(-1) of
    the sample matrix M is df(k) (Silverstein, 1995), so that

        E Tr M^(1/2) = 2 / pi * integral of z(k)^(1/2) sum h / (h + k)^2 dk,   over z(k) >= 0.

    Args:
        spectrum: h (D,), not negative.
        num_samples: N, 2 at least.
    """
    h, freedom = spectrum[spectrum > NEGLIGIBLE * spectrum.max()], num_samples - 1
    start = _root(h, freedom) if len(h) > freedom else 0.0
    # Beyond the root of z, because z^(1/2) rises steeply there.
    beyond = np.geomspace((start or h.min()) * 1e-8, h.max() * 1e9, NUM_POINTS)
    k = start + beyond
    shares = h / (h + k[:, None])
    z = k * (1 - shares.sum(axis=1) / freedom).clip(min=0)
    density = (shares / (h + k[:, None])).sum(axis=1)
    return float(2 / np.pi * np.trapezoid(np.sqrt(z) * density * beyond, np.log(beyond)))


def _root(h: np.ndarray, freedom: int) -> float:
    """Return k with sum h / (h + k) = `freedom`, by bisection of its logarithm."""
    low, high = math.log(h.min() / len(h)), math.log(h.sum() / freedom)
    while (h / (h + math.exp(low))).sum() < freedom:
        low -= len(h)
    for _ in range(100):
        middle = (low + high) / 2
        if (h / (h + math.exp(middle))).sum() > freedom:
            low = middle
        else:
            high = middle
    return math.exp(high)


class FidAtFullN:
    """Carries FIDs of one reference from few samples to more."""

    def __init__(self, reference: GaussianStatistics) -> None:
        self._reference = reference
        self._expected = lru_cache(maxsize=None)(self._expected_of_real)

    @cached_property
    def _spectrum(self) -> np.ndarray:
        factor = self._reference.factor
        gram = factor @ factor.T if len(factor) <= factor.shape[1] else factor.T @ factor
        found: np.ndarray = symmetric_eigenvalues(gram).clamp(min=0).square().cpu().numpy()
        return found

    def _expected_of_real(self, num_samples: int) -> float:
        return expected_overlap(self._spectrum, num_samples)

    def carried(self, fid: float, features: Tensor, labels: Tensor, num_samples: int) -> float:
        """Return an estimate of the expected FID of more samples.

        Args:
            fid: of these samples.
            features: of the samples (n, D), such that each half is balanced as the whole is.
            labels: of the samples (n,), with fixed numbers of each.
            num_samples: N, n at least; at N = n the FID itself is returned.
        """
        count = len(features)
        if num_samples == count:
            return fid
        x, real = features.double(), self._reference
        mean = x.mean(dim=0)
        shift = float((mean - real.mean.to(x)).square().sum())
        traces = float((x - mean).square().sum() / (count - 1) + real.factor.square().sum())
        whole = (shift + traces - fid) / 2
        growth = self._growth(features, whole, num_samples)
        shorter = _variance_within(x, labels) * (1 / count - 1 / num_samples)
        return fid - shorter - 2 * whole * (growth - 1)

    def _growth(self, features: Tensor, whole: float, num_samples: int) -> float:
        """Return by what factor the overlap of n samples grows to that of N."""
        count = len(features)
        if not self._spectrum.max() > 0 or not whole > 0:
            return 1.0
        real = self._expected(num_samples) / self._expected(count)
        if count < LEAST_TO_HALVE:
            return real
        half = count // 2
        parts = features[:half], features[half : 2 * half]
        before = sum(overlap(gaussian_statistics(part), self._reference) for part in parts) / 2
        if not before > 0:
            return real
        real_before = self._expected(count) / self._expected(half)
        own: float = math.log(whole / before) / math.log(real_before)
        return float(real**own)


def _variance_within(x: Tensor, labels: Tensor) -> float:
    """Return the trace of the covariance within classes, which the means of samples vary by."""
    strata = strata_of(labels, len(labels)).to(x.device)
    sizes = torch.bincount(strata).double()
    sums = x.new_zeros(len(sizes), x.shape[1]).index_add_(0, strata, x)
    rest = x - (sums / sizes[:, None])[strata]
    squares = torch.zeros_like(sizes).index_add_(0, strata, rest.square().sum(dim=1))
    return float((squares / (sizes - 1).clamp(min=1) * sizes).sum() / len(x))

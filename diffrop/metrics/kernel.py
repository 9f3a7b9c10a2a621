"""The kernel distance KID (Binkowski et al., 2018): an unbiased squared MMD of features."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrop.metrics.checks import check_features
from diffrop.metrics.intervals import Estimate

SEED = 2020
"""torch-fidelity's, so that both draw the same subsets."""


@dataclass(frozen=True)
class KernelDistance:
    """KID as the mean over subsets; unbiased at any N, so that small groups can be compared."""

    mean: float
    std: float
    """Standard deviation over the subsets: of one subset, not of the mean."""
    num_subsets: int
    subset_size: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def kernel_distance(
    samples: Tensor,
    reference: Tensor,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = SEED,
) -> KernelDistance:
    """Return KID with the kernel (x^T y / D + 1)^3.

    Args:
        samples: features (N, D); products are in float32, or float64 if they are; sums in float64.
        reference: features (N_ref, D).
        num_subsets: pairs of subsets, drawn without replacement within each.
        subset_size: images of each subset.
        seed: of NumPy's legacy generator; drawn in the order of torch-fidelity.

    Raises:
        ValueError: a set is smaller than a subset, a subset than two, or a row is not finite.
    """
    check_features(samples, "samples")
    check_features(reference, "reference features")
    smaller = min(len(samples), len(reference))
    if not 2 <= subset_size <= smaller:
        raise ValueError(f"subset_size is {subset_size}; allowed: 2 to {smaller} images")
    rng = np.random.RandomState(seed)  # legacy on purpose: torch-fidelity's subsets
    values = []
    for _ in range(num_subsets):
        a, b = (
            x[torch.from_numpy(rng.choice(len(x), subset_size, replace=False))]
            for x in (samples, reference)
        )
        values.append(float(_distance(*_row_means(a, b))))
    return KernelDistance(float(np.mean(values)), float(np.std(values)), num_subsets, subset_size)


def kernel_estimate(samples: Tensor, reference: Tensor) -> Estimate:
    """Return KID over all images, as one subset of everything, with each sample's influence.

    The least noisy unbiased estimate of what `kernel_distance` estimates.

    Args:
        samples: features (N, D), N >= 2.
        reference: features (N_ref, D), N_ref >= 2; taken as fixed.

    Raises:
        ValueError: too few images, or a row that is not finite.
    """
    check_features(samples, "samples", at_least=2)
    check_features(reference, "reference features", at_least=2)
    within, across, other = _row_means(samples, reference)
    value = float(_distance(within, across, other))
    return Estimate(value, 2 * (within - across).cpu())


TILE = 2000
"""Rows and columns of the part of a kernel matrix that is in memory at a time."""


def _distance(within: Tensor, across: Tensor, other: Tensor) -> Tensor:
    return within.mean() + other.mean() - 2 * across.mean()


def _row_means(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's mean kernel: of a with the others of a, of a with b, of b with its others."""
    within = (_sums_within(a) - _diagonal(a)) / (len(a) - 1)
    other = (_sums_within(b) - _diagonal(b)) / (len(b) - 1)
    parts = [[_kernel(i, j).sum(dim=1) for j in b.split(TILE)] for i in a.split(TILE)]
    across = torch.cat([torch.stack(part).sum(dim=0) for part in parts])
    return within, across / len(b), other


def _sums_within(x: Tensor) -> Tensor:
    """Each row's sum of the kernel with all rows; a tile serves its rows and its columns."""
    sums = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    starts = range(0, len(x), TILE)
    for i in starts:
        for j in starts[: i // TILE + 1]:
            tile = _kernel(x[i : i + TILE], x[j : j + TILE])
            sums[i : i + TILE] += tile.sum(dim=1)
            if i != j:
                sums[j : j + TILE] += tile.sum(dim=0)
    return sums


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    a, b = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (a, b))
    return (a @ b.T / a.shape[1] + 1).pow_(3).double()


def _diagonal(x: Tensor) -> Tensor:
    return (x.double().square().sum(dim=1) / x.shape[1] + 1) ** 3

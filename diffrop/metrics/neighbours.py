"""Distances to nearest neighbours, and what is built on them: precision, recall, memorisation."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import scipy.stats
import torch
from torch import Tensor

from diffrop.metrics.checks import check_features

TILE = 5000
"""Rows and columns of the part of a distance matrix that is in memory at a time."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al., 2019); higher is better."""

    precision: float
    """Share of samples within reach of a reference image."""
    recall: float
    """Share of reference images within reach of a sample."""
    k: int
    num_samples: int
    num_reference: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Memorisation:
    """Whether samples lie nearer to training images than held-out images do."""

    closer: float
    """Probability that a sample is nearer to its nearest training image than a held-out image of
    its class is to its own, ties half; mean over classes. 0.5 without copying, 1 for copies."""
    z: float
    """`closer` less 0.5 in standard errors of the rank test within classes (van Elteren, 1960);
    above about 3, copying is beyond chance."""
    median_sample: float
    """Median distance of the samples to their nearest training images."""
    median_heldout: float
    """The same median of held-out images, each class with its mass among the samples."""
    num_samples: int
    num_heldout: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def precision_recall(samples: Tensor, reference: Tensor, k: int = 5) -> PrecisionRecall:
    """Return improved precision and recall.

    A point is within reach of another if it is no farther than that one's k-th nearest neighbour
    within its own set. Both depend on both numbers of images: compare equal ones only.

    Args:
        samples: features (N, D); distances are taken in float32, or float64 if these are.
        reference: features (N_ref, D).
        k: neighbours; 5 in the paper's tables and 3 in the metric's.

    Raises:
        ValueError: a set of k images or fewer, or a row that is not finite.
    """
    a, b, centre = _at_least_float32(samples, reference, at_least=k + 1)
    reach_a, reach_b = _reach(a, k, centre), _reach(b, k, centre)
    precise = torch.zeros(len(a), dtype=torch.bool, device=a.device)
    recalled = torch.zeros(len(b), dtype=torch.bool, device=b.device)
    for i in range(0, len(a), TILE):
        for j in range(0, len(b), TILE):
            here, there = slice(i, i + TILE), slice(j, j + TILE)
            squares = _squared_distances(a[here], b[there], centre)
            precise[here] |= (squares <= reach_b[there]).any(dim=1)
            recalled[there] |= (squares <= reach_a[here].unsqueeze(1)).any(dim=0)
    return PrecisionRecall(
        precision=float(precise.double().mean()),
        recall=float(recalled.double().mean()),
        k=k,
        num_samples=len(a),
        num_reference=len(b),
    )


def nearest(samples: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distance of each sample to the nearest of the others, (N,), and its row, (N,).

    Args:
        samples: features (N, D).
        others: features (M, D).

    Raises:
        ValueError: an empty set, or a row that is not finite.
    """
    a, b, centre = _at_least_float32(samples, others, at_least=1)
    distances, rows = [], []
    for part in a.split(TILE):
        found = [_squared_distances(part, other, centre).min(dim=1) for other in b.split(TILE)]
        values = torch.stack([tile.values for tile in found])
        starts = torch.arange(len(found), device=a.device).unsqueeze(1) * TILE
        best = values.min(dim=0)
        indices = torch.stack([tile.indices for tile in found]) + starts
        distances.append(best.values)
        rows.append(indices.gather(0, best.indices.unsqueeze(0)).squeeze(0))
    return torch.cat(distances).clamp(min=0).sqrt(), torch.cat(rows)


def memorisation(
    samples: Tensor,
    training: Tensor,
    heldout: Tensor,
    labels: Tensor | None = None,
    heldout_labels: Tensor | None = None,
) -> Memorisation:
    """Compare how near samples and held-out images come to the training images.

    After Meehan et al. (2020): a model that has learned the distribution puts its samples as far
    from the training images as fresh images lie; one that copies puts them nearer. A metric whose
    reference holds training images, such as FID, rewards copying.

    Args:
        samples: features (N, D).
        training: features of the images that the model was trained on.
        heldout: features of images from the same distribution that it never saw.
        labels: of the samples (N,); with `heldout_labels` the comparison is within classes, so
            that neither set's balance matters. Classes without a held-out image are left out.
        heldout_labels: of the held-out images.

    Raises:
        ValueError: an empty set, no class in both, or a row that is not finite.
    """
    a, c = nearest(samples, training)[0], nearest(heldout, training)[0]
    ones = (torch.zeros(len(a)), torch.zeros(len(c)))
    of_a, of_c = ones if labels is None or heldout_labels is None else (labels, heldout_labels)
    shared = [
        (a[of_a.to(a.device) == label].cpu(), c[of_c.to(c.device) == label].cpu())
        for label in of_a.unique().tolist()
        if label in of_c
    ]
    if not shared:
        raise ValueError("no class has both samples and held-out images; allowed: one at least")
    closer, variances = [], []
    for own, held in shared:
        pairs = len(own) * len(held)
        closer.append(float(scipy.stats.mannwhitneyu(held, own).statistic) / pairs)
        variances.append(_u_variance(own, held) / pairs**2)
    mean = sum(closer) / len(shared)
    error = sum(variances) ** 0.5 / len(shared)
    own, held = (torch.cat(sets) for sets in zip(*shared, strict=True))
    weights = torch.cat([torch.full((len(h),), len(o) / len(h)) for o, h in shared])
    return Memorisation(
        closer=mean,
        z=(mean - 0.5) / error if error else 0.0,
        median_sample=float(own.median()),
        median_heldout=_weighted_median(held, weights),
        num_samples=len(own),
        num_heldout=len(held),
    )


def _u_variance(a: Tensor, b: Tensor) -> float:
    """Variance of the Mann-Whitney U of two sets of one distribution, ties considered."""
    n, m = len(a), len(b)
    _, ties = torch.cat([a, b]).unique(return_counts=True)
    total = n + m
    tied = float((ties.double() ** 3 - ties).sum()) / (total * (total - 1))
    return n * m / 12 * (total + 1 - tied)


def _weighted_median(values: Tensor, weights: Tensor) -> float:
    order = values.argsort()
    mass = weights[order].cumsum(0)
    return float(values[order][int((mass < mass[-1] / 2).sum())])


def _at_least_float32(a: Tensor, b: Tensor, at_least: int) -> tuple[Tensor, Tensor, Tensor]:
    """Check both; return them and the mean of b, about which distances lose least precision."""
    check_features(a, "samples", at_least)
    check_features(b, "reference features", at_least)
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    a, b = a.to(dtype), b.to(dtype)
    return a, b, b.mean(dim=0)


def _reach(x: Tensor, k: int, centre: Tensor) -> Tensor:
    """Return the squared distance of each row of x to its k-th nearest other row, rounded up.

    By the rounding error of a squared distance, so that a repeated row is within its own reach.
    """
    nearest_k = x.new_full((len(x), k), torch.inf)
    starts = range(0, len(x), TILE)
    for i in starts:
        for j in starts[: i // TILE + 1]:
            here, there = slice(i, i + TILE), slice(j, j + TILE)
            squares = _squared_distances(x[here], x[there], centre)
            if i == j:
                squares.fill_diagonal_(torch.inf)
            nearest_k[here] = _smallest(nearest_k[here], squares, k)
            if i != j:
                nearest_k[there] = _smallest(nearest_k[there], squares.T, k)
    largest = max(float((part - centre).square().sum(dim=1).max()) for part in x.split(TILE))
    return nearest_k[:, k - 1] + 16 * torch.finfo(x.dtype).eps * largest


def _smallest(known: Tensor, squares: Tensor, k: int) -> Tensor:
    """Return the k smallest of each row of both, ascending."""
    found = squares.topk(min(k, squares.shape[1]), dim=1, largest=False).values
    return torch.cat([known, found], dim=1).topk(k, dim=1, largest=False).values


def _squared_distances(a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
    """(len(a), len(b)); through products, so that a repeated row is off 0 by rounding."""
    a, b = a - centre, b - centre
    squares = a.square().sum(dim=1, keepdim=True) + b.square().sum(dim=1)
    return squares.addmm_(a, b.T, alpha=-2)

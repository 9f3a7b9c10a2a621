"""Precision and recall of distributions, F_8 and F_1/8 (Sajjadi et al., 2018)."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from diffrop.metrics.checks import check_features

CLUSTERS_PER_CLASS = 20
Array = NDArray[np.float64]


@dataclass(frozen=True)
class PrdFBeta:
    """The ends of the PRD curve: F_8 weighs recall, F_1/8 precision; higher is better.

    The paper's code prints them under the names recall and precision; another public script takes
    F_8 of improved precision and recall. These are Sajjadi's own.
    """

    f_8: float
    f_1_8: float
    num_clusters: int
    num_angles: int
    num_runs: int
    num_images: int
    """Images of each set."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def prd_f_beta(
    samples: Tensor,
    reference: Tensor,
    *,
    num_clusters: int,
    num_angles: int = 1001,
    num_runs: int = 10,
    seed: int = 0,
) -> PrdFBeta:
    """Return F_8 and F_1/8 of the PRD curve, the mean curve over k-means runs.

    Args:
        samples: features (N, D).
        reference: features of as many images: the histograms of unequal sets would differ in
            noise, which reads as a lack of recall.
        num_clusters: of the union of both sets; 20 for each class.
        num_angles: points of the curve.
        num_runs: of mini-batch k-means (scikit-learn's), each with its own seed.
        seed: of the first run.

    Raises:
        ValueError: unequal sets, fewer images than clusters, or a row that is not finite.
    """
    check_features(samples, "samples")
    check_features(reference, "reference features")
    if len(samples) != len(reference):
        raise ValueError(
            f"{len(samples)} samples and {len(reference)} reference images; allowed: as many"
        )
    if not 1 <= num_clusters <= 2 * len(samples):
        raise ValueError(f"num_clusters is {num_clusters}; allowed: 1 to {2 * len(samples)}")
    union = torch.cat([samples, reference]).float().cpu().numpy()
    # One thread a run: the products of a mini-batch are too small for several.
    with threadpool_limits(1), ThreadPoolExecutor(torch.get_num_threads()) as pool:
        seeds = range(seed, seed + num_runs)
        clusterings = list(pool.map(partial(_clusters, union, num_clusters), seeds))
    curves = [
        prd_curve(labels[: len(samples)], labels[len(samples) :], num_clusters, num_angles)
        for labels in clusterings
    ]
    precision, recall = np.mean(curves, axis=0)
    return PrdFBeta(
        f_8=f_beta(precision, recall, 8),
        f_1_8=f_beta(precision, recall, 1 / 8),
        num_clusters=num_clusters,
        num_angles=num_angles,
        num_runs=num_runs,
        num_images=len(samples),
    )


def _clusters(images: NDArray[np.float32], num_clusters: int, seed: int) -> NDArray[np.int32]:
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(
        num_clusters, n_init=1, init_size=3 * num_clusters, batch_size=1024, random_state=seed
    )
    labels: NDArray[np.int32] = means.fit_predict(images)
    return labels


def prd_curve(
    samples: NDArray[np.integer[Any]],
    reference: NDArray[np.integer[Any]],
    num_clusters: int,
    num_angles: int = 1001,
) -> tuple[Array, Array]:
    """Return precision and recall (num_angles,) of two sets whose images are in given clusters.

    At slope lambda, precision is sum_c min(lambda p_c, q_c), and recall that over lambda, with p
    the reference's histogram over the clusters and q the samples' (Equation 5 of the paper).

    Args:
        samples: cluster of each sample (N,), 0 to num_clusters - 1.
        reference: cluster of each reference image (N_ref,).
        num_clusters: number of clusters.
        num_angles: slopes, evenly spaced by their angle within (0, 90) degrees.
    """
    q = np.bincount(samples, minlength=num_clusters) / len(samples)
    p = np.bincount(reference, minlength=num_clusters) / len(reference)
    angles = np.linspace(1e-6, np.pi / 2 - 1e-6, num_angles)
    slopes = np.tan(angles)
    precision = np.minimum(np.outer(slopes, p), q).sum(axis=1)
    return np.clip(precision, 0, 1), np.clip(precision / slopes, 0, 1)


def f_beta(precision: Array, recall: Array, beta: float) -> float:
    """Return the largest F_beta over a curve: beta > 1 weighs recall more."""
    weighted = (1 + beta**2) * precision * recall
    total = beta**2 * precision + recall
    return float(np.max(weighted / np.maximum(total, np.finfo(np.float64).tiny)))

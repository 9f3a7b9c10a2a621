"""The Inception Score (Salimans et al., 2016)."""

import dataclasses
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffrop.metrics.checks import check_features
from diffrop.metrics.intervals import Estimate

SEED = 2020
"""torch-fidelity's, so that both shuffle alike."""


@dataclass(frozen=True)
class InceptionScore:
    """exp of the mutual information of image and predicted class; higher is better."""

    mean: float
    std: float
    """Standard deviation over the splits."""
    num_splits: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


def inception_score(logits: Tensor, *, num_splits: int = 10, seed: int = SEED) -> InceptionScore:
    """Return the mean over splits of exp E KL(p(y|x) || p(y)).

    The score grows with the images of a split: compare equal N and num_splits only.

    Args:
        logits: (N, classes of the extractor), any float dtype.
        num_splits: parts of the shuffled images.
        seed: of the shuffle, by NumPy's legacy generator as in torch-fidelity.

    Raises:
        ValueError: fewer images than splits, or a row that is not finite.
    """
    check_features(logits, "logits", at_least=num_splits)
    order = np.random.RandomState(seed).permutation(len(logits))  # legacy: torch-fidelity's order
    rows = logits[torch.from_numpy(order).to(logits.device)].double()
    bounds = [i * len(rows) // num_splits for i in range(num_splits + 1)]
    scores = np.array([float(_divergences(rows[a:b]).mean().exp()) for a, b in pairwise(bounds)])
    return InceptionScore(float(scores.mean()), float(scores.std()), num_splits)


def inception_score_estimate(logits: Tensor) -> Estimate:
    """Return `inception_score` with each sample's influence on it.

    The influence of an image on the mean divergence is its own divergence: that of p(y) cancels.

    Args:
        logits: (N, classes of the extractor).

    Raises:
        ValueError: as `inception_score`.
    """
    mean = inception_score(logits).mean
    return Estimate(mean, mean * _divergences(logits.double()).cpu())


def _divergences(logits: Tensor) -> Tensor:
    """KL(p(y|x) || p(y)) of each image, (N,)."""
    log_p = logits.log_softmax(dim=1)
    p = log_p.exp()
    return (p * (log_p - p.mean(dim=0).log())).sum(dim=1)

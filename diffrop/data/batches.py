"""The order in which training images are visited."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffrop.config import ClassSampling
from diffrop.seeds import ORDER, derive_seed


def class_probabilities(class_counts: Sequence[int], sampling: ClassSampling) -> Tensor:
    """Return the probability that a training image is of class c, float64 (C,).

    natural: n_c / N. sqrt: proportional to sqrt(n_c) (RS-SQRT, Mahajan et al., 2018). uniform:
    1 / C (RS). A class without images has probability 0.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    power = {"natural": 1.0, "sqrt": 0.5, "uniform": 0.0}[sampling]
    mass = torch.where(counts > 0, counts**power, 0)
    return mass / mass.sum()


class ImageOrder:
    """Endless passes over the training set: each image once, or draws with replacement.

    The batch at a position depends on seed and position alone, so that a resumed training
    continues with the very images that an uninterrupted one would have seen.
    """

    def __init__(
        self,
        labels: Tensor,
        sampling: ClassSampling,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        """Prepare the order of the images with `labels`, int64 (N,).

        The order is drawn on the CPU; `device` is where its indices then lie, a pass at a time.
        """
        self._num_images = len(labels)
        self._device = device
        self._seed = seed
        self._epoch = -1
        self._pass_indices = torch.empty(0, dtype=torch.int64)
        self._weights: Tensor | None = None
        if sampling != "natural":
            counts = torch.bincount(labels)
            share = class_probabilities(counts.tolist(), sampling) / counts
            self._weights = share[labels]

    def indices(self, position: int, count: int) -> Tensor:
        """Return the indices of the images position ... position + count - 1, int64 (count,)."""
        parts = []
        while count > 0:
            epoch, offset = divmod(position, self._num_images)
            part = self._pass(epoch)[offset : offset + count]
            parts.append(part)
            position, count = position + len(part), count - len(part)
        return torch.cat(parts)

    def _pass(self, epoch: int) -> Tensor:
        """Return as many indices as the training set has: a permutation, or independent draws."""
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(derive_seed(self._seed, ORDER, epoch))
            num = self._num_images
            if self._weights is None:
                indices = torch.randperm(num, generator=rng)
            else:
                indices = torch.multinomial(self._weights, num, True, generator=rng)
            self._pass_indices = indices.to(self._device)
            self._epoch = epoch
        return self._pass_indices

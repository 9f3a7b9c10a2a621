"""The order in which training images are visited."""

import torch
from torch import Tensor

from diffrop.seeds import ORDER, derive_seed


class ShuffledOrder:
    """Endless passes over the training set, each in its own random order.

    The batch at a position depends on seed and position alone, so that a resumed training
    continues with the very images that an uninterrupted one would have seen.
    """

    def __init__(self, num_images: int, seed: int) -> None:
        """Prepare the order of `num_images` images."""
        self._num_images = num_images
        self._seed = seed
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

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
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(derive_seed(self._seed, ORDER, epoch))
            self._permutation = torch.randperm(self._num_images, generator=rng)
            self._epoch = epoch
        return self._permutation

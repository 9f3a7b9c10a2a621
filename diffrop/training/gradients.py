"""The gradients of a step: one flat float32 buffer, whatever precision they were computed in."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffrop import distributed
from diffrop.models.precision import copy_each


class Gradients:
    """The `.grad` of every parameter, as views of one buffer: one all-reduce, one norm, one clip.

    The buffer never moves, so that a captured step may write to it.
    """

    def __init__(self, model: nn.Module) -> None:
        """Give every parameter of `model` a gradient of zeros, in the parameter's own layout."""
        weights = list(model.parameters())
        sizes = [weight.numel() for weight in weights]
        self.flat = torch.zeros(sum(sizes), device=weights[0].device)
        self._views: list[Tensor] = []
        for weight, part in zip(weights, self.flat.split(sizes), strict=True):
            view = part.as_strided(weight.shape, weight.stride(), part.storage_offset())
            weight.grad = view
            self._views.append(view)

    def take(self, gradients: Sequence[Tensor]) -> None:
        """Take a gradient over, as a mean over workers.

        Args:
            gradients: of this worker, of any dtype, in the parameters' order and shapes.
        """
        copy_each(self._views, gradients)
        if distributed.world_size() > 1:
            self.flat.copy_(distributed.all_reduce_sum(self.flat) / distributed.world_size())

    def clip(self, max_norm: float) -> Tensor:
        """Scale the gradient down to `max_norm` where it is longer; return its norm from before.

        The norm stays on the device: nothing waits for it.
        """
        norm = self.flat.norm()
        self.flat.mul_((max_norm / (norm + 1e-6)).clamp(max=1))
        return norm

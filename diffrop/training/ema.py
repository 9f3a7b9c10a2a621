"""Exponential moving average of the weights, with its half-life in images."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """EMA of a model's parameters.

    The half-life is capped at a share of the images seen (Karras et al., 2022, use 0.05), so that
    a short training is not dominated by its random start.
    """

    def __init__(self, model: nn.Module, half_life_images: int, ramp: float) -> None:
        """Start from the model's present weights."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._half_life_images = half_life_images
        self._ramp = ramp

    def half_life(self, images_seen: int) -> float:
        """Return the half-life in images that holds after `images_seen`."""
        return min(self._half_life_images, self._ramp * images_seen)

    @torch.no_grad()
    def update(self, model: nn.Module, batch_size: int, images_seen: int) -> None:
        """Move towards the model after a step that brought the count to `images_seen`."""
        decay = 0.5 ** (batch_size / self.half_life(images_seen))
        average: list[Tensor] = list(self.model.parameters())
        current: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(average, current, 1 - decay)

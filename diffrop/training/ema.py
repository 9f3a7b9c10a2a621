"""Averages of the weights: exponential, and power-function of a chosen relative length."""

import copy

import torch
from torch import Tensor, nn

from diffrop.power_average import power_exponent


class WeightAverage:
    """EMA of a model's parameters.

    The half-life is capped at a share of the images seen (Karras et al., 2022, use 0.05), so that
    a short training is not dominated by its random start.
    """

    def __init__(self, model: nn.Module, half_life_images: int, ramp: float) -> None:
        """Start from the model's present weights."""
        self._start(model)
        self._half_life_images = half_life_images
        self._ramp = ramp

    def _start(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        device = next(model.parameters()).device
        dtype = torch.float64 if device.type == "cpu" else torch.float32  # as SGD's kernels ask
        self._share = torch.zeros((), dtype=dtype, device=device)

    def half_life(self, images_seen: int) -> float:
        """Return the half-life in images that holds after `images_seen`."""
        return min(self._half_life_images, self._ramp * images_seen)

    def decay(self, batch_size: int, images_seen: int) -> float:
        """Return what is kept of the average at the step that brought the count so far."""
        return 0.5 ** (batch_size / self.half_life(images_seen))

    def set_time(self, batch_size: int, images_seen: int) -> None:
        """Prepare `follow` for the step that brings the count to `images_seen`."""
        self._share.fill_(1 - self.decay(batch_size, images_seen))

    @torch.no_grad()
    def follow(self, model: nn.Module, skip: Tensor) -> None:
        """Move towards the model, unless `skip` (float scalar on the device) is 1.

        That is fused SGD whose weights are the average, whose gradient is average minus model
        (weight decay 1, gradient -model) and whose rate is the model's share: one pass over the
        weights, and the share stays on the device, where a captured step can read it.
        """
        torch._fused_sgd_(
            list(self.model.parameters()),
            list(model.parameters()),
            [],
            lr=self._share,
            weight_decay=1.0,
            momentum=0.0,
            dampening=0.0,
            nesterov=False,
            maximize=True,
            is_first_step=False,
            found_inf=skip,
        )


class PowerAverage(WeightAverage):
    """Power-function EMA of Karras et al. (2024): weights at time s count with s^gamma.

    Its profile has the same shape at every length of training; `length` is its standard deviation
    over the training so far (sigma_rel). Several lengths of one run can be compared afterwards.
    """

    def __init__(self, model: nn.Module, length: float) -> None:
        """Start from the model's present weights, of which the first update leaves nothing."""
        self._start(model)
        self._gamma = power_exponent(length)

    def decay(self, batch_size: int, images_seen: int) -> float:
        """Return (1 - b / s)^(gamma + 1), with time in images."""
        return float((1 - batch_size / images_seen) ** (self._gamma + 1))

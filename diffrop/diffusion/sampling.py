"""Drawing images with any of the samplers, with classifier-free guidance."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from diffrop.config import DiffusionConfig, SamplingConfig
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.diffusion.solvers import SOLVERS, NoiseLevel, evaluated_timesteps, noise_levels
from diffrop.samplers import is_guided


class Denoiser(Protocol):
    """eps_theta(x_t, t, labels): noise of the shape of x_t (B, C, H, W), for t and labels (B,)."""

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the predicted noise."""


def guided_noise(
    model: Denoiser,
    x_t: Tensor,
    t: Tensor,
    labels: Tensor,
    omega: float,
    null_label: int,
    guide: Denoiser | None = None,
) -> Tensor:
    """Return (1 + omega) eps(x_t, c) - omega weaker(x_t), as in Section 3.2; 0 is no guidance.

    The weaker prediction is eps(x_t, null), which goes through the network in one batch with the
    other, or the guide's for the same labels (autoguidance; Karras et al., 2024, whose weight is
    1 + omega). A guide that predicts what the model does changes no bit.
    """
    if omega == 0:
        return model(x_t, t, labels)
    if guide is None:
        null = torch.full_like(labels, null_label)
        both = model(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([labels, null]))
        eps, weaker = both.chunk(2)
    else:
        eps, weaker = model(x_t, t, labels), guide(x_t, t, labels)
    return eps + omega * (eps - weaker)


@torch.no_grad()
def sample(
    model: Denoiser,
    schedule: NoiseSchedule,
    config: SamplingConfig,
    shape: tuple[int, ...],
    labels: Tensor,
    omega: float,
    null_label: int,
    generator: torch.Generator,
    batch_size: int | None = None,
    start: int = 0,
    look: Callable[[], object] = lambda: None,
    guide: Denoiser | None = None,
) -> Tensor:
    """Draw one batch of images, or a part of it.

    Args:
        model: predicts the noise.
        schedule: on the device of the model; the images are computed in its dtype.
        config: sampler, steps, where guidance is active, and whether predicted clean images are
            clipped to [-1, 1].
        shape: (C, H, W) of an image.
        labels: (B,), int64.
        omega: guidance scale, 0 or more.
        null_label: label of the unconditional branch.
        generator: of x_T and of the ancestral noise; on any device.
        batch_size: images of the whole batch, B by default; noise is drawn for all of them.
        start: place in it of the first label.
        look: called before every evaluation of the model; may raise to give the images up.
        guide: the weaker model that guidance goes away from; None is the null label.

    Returns:
        Images (B, C, H, W), in [-1, 1] where they are clipped.
    """
    whole = len(labels) if batch_size is None else batch_size

    def noise() -> Tensor:
        drawn = torch.randn(whole, *shape, generator=generator, device=generator.device)
        return drawn[start : start + len(labels)].to(labels.device, schedule.beta.dtype)

    def predict(x_t: Tensor, level: NoiseLevel) -> Tensor:
        look()
        t = torch.full_like(labels, level.t)
        scale = omega if is_guided(config, level.t, schedule.num_timesteps) else 0.0
        eps = guided_noise(model, x_t, t, labels, scale, null_label, guide).to(x_t.dtype)
        x_0 = schedule.x_0(x_t, t, eps)
        return x_0.clamp(-1, 1) if config.clip else x_0

    solver = SOLVERS[config.sampler]
    levels = noise_levels(schedule, solver.timesteps(schedule, config.num_steps))
    return solver.solve(noise(), levels, predict, noise)


def num_guided_evaluations(
    config: SamplingConfig, diffusion: DiffusionConfig, omega: float
) -> int:
    """Return how often a network is evaluated for an image (NFE): twice where it is guided.

    A guide counts as the network itself does, whose size it has.
    """
    seen = evaluated_timesteps(diffusion, config.sampler, config.num_steps)
    if omega == 0:
        return len(seen)
    return sum(1 + is_guided(config, t, diffusion.num_timesteps) for t in seen)


def to_uint8(images: Tensor) -> Tensor:
    """Quantise images in [-1, 1] to uint8 0 ... 255, as scores and files take them."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1

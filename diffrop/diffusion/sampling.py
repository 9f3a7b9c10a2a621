"""Drawing images: ancestral DDPM and DDIM, with classifier-free guidance."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from diffrop.config import SamplingConfig
from diffrop.diffusion.schedule import NoiseSchedule


class Denoiser(Protocol):
    """eps_theta(x_t, t, labels): noise of the shape of x_t (B, C, H, W), for t and labels (B,)."""

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the predicted noise."""


def guided_noise(
    model: Denoiser, x_t: Tensor, t: Tensor, labels: Tensor, omega: float, null_label: int
) -> Tensor:
    """Return (1 + omega) eps(x_t, c) - omega eps(x_t, null), as in Section 3.2; 0 is no guidance.

    Both branches go through the network as one batch.
    """
    if omega == 0:
        return model(x_t, t, labels)
    null = torch.full_like(labels, null_label)
    both = model(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([labels, null]))
    conditional, unconditional = both.chunk(2)
    return (1 + omega) * conditional - omega * unconditional


def sampler_timesteps(config: SamplingConfig, num_timesteps: int) -> list[int]:
    """Return the timesteps a sampler visits: T - 1 first, 0 last; a single step is at T - 1."""
    if config.sampler == "ancestral":
        return list(range(num_timesteps - 1, -1, -1))
    steps = torch.linspace(num_timesteps - 1, 0, config.num_steps, dtype=torch.float64)
    return [int(step) for step in steps.round()]


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
) -> Tensor:
    """Draw one batch of images, or a part of it.

    Args:
        model: predicts the noise.
        schedule: on the device of the model.
        config: ancestral (all T steps, fixed-large variance beta_t, as DDPM on CIFAR-10) or DDIM
            with eta = 0 (Song et al., 2021). Predicted clean images are clipped to [-1, 1].
        shape: (C, H, W) of an image.
        labels: (B,), int64.
        omega: guidance scale, 0 or more.
        null_label: label of the unconditional branch.
        generator: of x_T and of the ancestral noise; on any device.
        batch_size: images of the whole batch, B by default; noise is drawn for all of them.
        start: place in it of the first label.
        look: called before every step; may raise to give the images up.

    Returns:
        Images (B, C, H, W), float32, in [-1, 1].
    """

    def noise() -> Tensor:
        drawn = torch.randn(whole, *shape, generator=generator, device=generator.device)
        return drawn[start : start + len(labels)].to(labels.device)

    whole = len(labels) if batch_size is None else batch_size
    x_t = noise()
    steps = sampler_timesteps(config, schedule.num_timesteps)
    update = _ancestral_step if config.sampler == "ancestral" else _ddim_step
    for step, following in zip(steps, [*steps[1:], -1], strict=True):
        look()
        t = torch.full_like(labels, step)
        eps = guided_noise(model, x_t, t, labels, omega, null_label).float()
        x_0 = schedule.x_0(x_t, t, eps).clamp(-1, 1)
        x_t = update(schedule, x_t, x_0, step, following, noise)
    return x_t


def _ddim_step(
    schedule: NoiseSchedule,
    x_t: Tensor,
    x_0: Tensor,
    step: int,
    following: int,
    noise: Callable[[], Tensor],
) -> Tensor:
    """Take a step of DDIM, eta = 0: keep the noise that x_t and the clipped x_0 imply."""
    if following < 0:
        return x_0
    now, then = schedule.alpha_bar[step], schedule.alpha_bar[following]
    eps = (x_t - now.sqrt() * x_0) / (1 - now).sqrt()
    return then.sqrt() * x_0 + (1 - then).sqrt() * eps


def _ancestral_step(
    schedule: NoiseSchedule,
    x_t: Tensor,
    x_0: Tensor,
    step: int,
    following: int,
    noise: Callable[[], Tensor],
) -> Tensor:
    """Draw from p_theta(x_{t-1} | x_t): the posterior mean at x_0, variance beta_t."""
    if following < 0:
        return x_0
    beta, alpha = schedule.beta[step], schedule.alpha[step]
    now, then = schedule.alpha_bar[step], schedule.alpha_bar[following]
    mean = (then.sqrt() * beta * x_0 + alpha.sqrt() * (1 - then) * x_t) / (1 - now)
    return mean + beta.sqrt() * noise()


def to_uint8(images: Tensor) -> Tensor:
    """Quantise images in [-1, 1] to uint8 0 ... 255, as scores and files take them."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1

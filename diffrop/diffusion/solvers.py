"""The steps of the samplers, from noise to images, one function each.

Each takes x_T, the noise levels at which the network may be evaluated (from the noisiest to the
clean image), the prediction of the clean image, and a source of noise. Adding a sampler takes such
a function and its timesteps here, and its name and cost in `diffrop.config.SamplerKind` and
`diffrop.samplers.EVALUATIONS`.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffrop.config import SamplerKind
from diffrop.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class NoiseLevel:
    """x_t = alpha x_0 + sigma eps at one timestep; the clean image has alpha 1 and sigma 0."""

    t: int
    alpha: float
    sigma: float
    beta: float
    """Variance that the forward process adds at t."""


CLEAN = NoiseLevel(t=-1, alpha=1.0, sigma=0.0, beta=0.0)

Predict = Callable[[Tensor, NoiseLevel], Tensor]
"""The clean images (B, ...) that the network sees in x_t (B, ...) at a level."""
Noise = Callable[[], Tensor]
"""Draws standard normal noise of the shape of x_t."""
Solve = Callable[[Tensor, Sequence[NoiseLevel], Predict, Noise], Tensor]


@dataclass(frozen=True)
class Solver:
    """A sampler: where it evaluates the network, and how it goes on from there."""

    timesteps: Callable[[NoiseSchedule, int], list[int]]
    """Those of N steps, falling from T - 1."""
    solve: Solve


def noise_levels(schedule: NoiseSchedule, timesteps: Sequence[int]) -> list[NoiseLevel]:
    """Return the level of each timestep and, at the end, that of the clean image."""

    def values(table: Tensor) -> list[float]:
        found: list[float] = table.double().cpu()[list(timesteps)].tolist()
        return found

    alpha = values(schedule.alpha_bar.double().sqrt())
    sigma = values(schedule.one_minus_alpha_bar.double().sqrt())
    levels: map[Any] = map(NoiseLevel, timesteps, alpha, sigma, values(schedule.beta))
    return [*levels, CLEAN]


def every_timestep(schedule: NoiseSchedule, num_steps: int) -> list[int]:
    """Return T - 1, ..., 0, whatever the number of steps."""
    return list(range(schedule.num_timesteps - 1, -1, -1))


def evenly_spaced(schedule: NoiseSchedule, num_steps: int) -> list[int]:
    """Return T - 1 first and 0 last, evenly spaced in t; a single step is at T - 1."""
    steps = torch.linspace(schedule.num_timesteps - 1, 0, num_steps, dtype=torch.float64)
    return [int(step) for step in steps.round()]


def flow(x_t: Tensor, x_0: Tensor, now: NoiseLevel, then: NoiseLevel) -> Tensor:
    """Go to another level, keeping the clean image x_0 and the noise that it leaves in x_t."""
    ratio = then.sigma / now.sigma
    return ratio * x_t + (then.alpha - ratio * now.alpha) * x_0


def ddim(x_t: Tensor, levels: Sequence[NoiseLevel], predict: Predict, noise: Noise) -> Tensor:
    """DDIM with eta = 0 (Song et al., 2021), the first-order solver of the probability flow."""
    for now, then in itertools.pairwise(levels):
        x_t = flow(x_t, predict(x_t, now), now, then)
    return x_t


def ancestral(x_t: Tensor, levels: Sequence[NoiseLevel], predict: Predict, noise: Noise) -> Tensor:
    """Draw from p_theta(x_{t-1} given x_t) (Ho et al., 2020): posterior mean, variance beta_t.

    It is "fixedlarge" there, as DDPM takes it on CIFAR-10. The levels are all T.
    """
    for now, then in itertools.pairwise(levels[:-1]):
        signal = then.alpha * now.beta / now.sigma**2
        kept = now.alpha / then.alpha * then.sigma**2 / now.sigma**2
        mean = signal * predict(x_t, now) + kept * x_t
        x_t = mean + now.beta**0.5 * noise()
    return predict(x_t, levels[-2])


SOLVERS: Mapping[SamplerKind, Solver] = {
    "ddim": Solver(evenly_spaced, ddim),
    "ancestral": Solver(every_timestep, ancestral),
}

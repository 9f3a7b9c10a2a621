"""The steps of the samplers, from noise to images, one function each.

Each takes x_T, the noise levels at which the network may be evaluated (from the noisiest to the
clean image), the prediction of the clean image, and a source of noise. Adding a sampler takes such
a function and its timesteps here, its name and cost in `diffrop.config.SamplerKind` and
`diffrop.samplers.EVALUATIONS`, and for exports diffusers' scheduler of the same steps in
`diffrop.export.convert` and its timesteps in `diffrop.export.pipeline`, which stands alone. See
docs/extend.md.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffrop.config import DiffusionConfig, SamplerKind
from diffrop.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class NoiseLevel:
    """x_t = alpha x_0 + sigma eps at one timestep; the clean image has alpha 1 and sigma 0."""

    t: int
    alpha: float
    sigma: float
    beta: float
    """Variance that the forward process adds at t."""

    @property
    def ratio(self) -> float:
        """Noise to signal, sigma / alpha."""
        return self.sigma / self.alpha

    @property
    def log_snr(self) -> float:
        """log(alpha / sigma), lambda in Lu et al. (2022); the clean image has none."""
        return -math.log(self.ratio)


CLEAN = NoiseLevel(t=-1, alpha=1.0, sigma=0.0, beta=0.0)

EDM_RHO = 7

FloatArray = NDArray[np.float64]
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


def evenly_in_time(schedule: NoiseSchedule, num_steps: int) -> list[int]:
    """Return T - 1 first and 0 last, evenly spaced in t; a single step is at T - 1."""
    last = schedule.num_timesteps - 1
    return _distinct(np.linspace(last, 0, num_steps), schedule)


def evenly_in_log_snr(schedule: NoiseSchedule, num_steps: int) -> list[int]:
    """Return N timesteps whose log(alpha / sigma) is nearly evenly spaced (Lu et al., 2022).

    The first is T - 1 and the next after the last would be 0; the clean image stands for it.
    """
    measure = np.log(_noise_to_signal(schedule))
    wanted = np.linspace(measure[-1], measure[0], num_steps + 1)[:-1]
    return _distinct(np.interp(wanted, measure, np.arange(len(measure))), schedule)


def evenly_as_edm(schedule: NoiseSchedule, num_steps: int) -> list[int]:
    """Return T - 1 first and 0 last, spaced as by Karras et al. (2022), Eq. 5 with rho = 7.

    Their sigma is our sigma / alpha; each goes to the nearest timestep.
    """
    measure = _noise_to_signal(schedule) ** (1 / EDM_RHO)
    wanted = np.linspace(measure[-1], measure[0], num_steps)
    return _distinct(np.interp(wanted, measure, np.arange(len(measure))), schedule)


def _noise_to_signal(schedule: NoiseSchedule) -> FloatArray:
    """Return sigma / alpha of each timestep, float64 (T,)."""
    tables = (schedule.one_minus_alpha_bar, schedule.alpha_bar)
    variance, signal = (table.double().cpu().numpy() for table in tables)
    return np.sqrt(variance / signal)


def _distinct(wanted: FloatArray, schedule: NoiseSchedule) -> list[int]:
    """Return falling timesteps near `wanted` (N,), each at most once: for N = T, all of them."""
    found: list[int] = []
    below = schedule.num_timesteps
    for left, place in zip(reversed(range(len(wanted))), wanted.round(), strict=True):
        below = max(left, min(int(place), below - 1))
        found.append(below)
    return found


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


def dpmpp(x_t: Tensor, levels: Sequence[NoiseLevel], predict: Predict, noise: Noise) -> Tensor:
    """DPM-Solver++(2M) (Lu et al., 2022, Algorithm 2).

    The first step is of first order, and so is the last where it goes to the clean image.
    """
    before: NoiseLevel | None = None
    x_0_before = x_t
    for now, then in itertools.pairwise(levels):
        x_0 = predict(x_t, now)
        target = x_0
        if before is not None and then.sigma > 0:
            ratio = (then.log_snr - now.log_snr) / (now.log_snr - before.log_snr)
            target = x_0 + ratio / 2 * (x_0 - x_0_before)
        x_t = flow(x_t, target, now, then)
        before, x_0_before = now, x_0
    return x_t


def heun(x_t: Tensor, levels: Sequence[NoiseLevel], predict: Predict, noise: Noise) -> Tensor:
    """Heun's method on dx/dr = (x - x_0) / r for x = x_t / alpha (Karras et al., 2022, Alg. 1).

    r is sigma / alpha. The step to the clean image is Euler's: N steps evaluate 2 N - 1 times.
    """
    for now, then in itertools.pairwise(levels):
        x_0 = predict(x_t, now)
        ahead = flow(x_t, x_0, now, then)
        if then.sigma > 0:
            slope = (x_t / now.alpha - x_0) / now.ratio
            slope_ahead = (ahead / then.alpha - predict(ahead, then)) / then.ratio
            moved = (then.ratio - now.ratio) * (slope + slope_ahead) / 2
            ahead = then.alpha * (x_t / now.alpha + moved)
        x_t = ahead
    return x_t


SOLVERS: Mapping[SamplerKind, Solver] = {
    "ddim": Solver(evenly_in_time, ddim),
    "dpmpp": Solver(evenly_in_log_snr, dpmpp),
    "heun": Solver(evenly_as_edm, heun),
    "ancestral": Solver(every_timestep, ancestral),
}


@functools.cache
def evaluated_timesteps(
    diffusion: DiffusionConfig, sampler: SamplerKind, num_steps: int
) -> tuple[int, ...]:
    """Return the timestep of each evaluation of the network, in order.

    They are found by taking the sampler's steps with no images.
    """
    schedule, solver = NoiseSchedule.linear(diffusion), SOLVERS[sampler]
    found: list[int] = []

    def predict(x_t: Tensor, level: NoiseLevel) -> Tensor:
        found.append(level.t)
        return x_t

    levels = noise_levels(schedule, solver.timesteps(schedule, num_steps))
    nothing = torch.empty(0)
    solver.solve(nothing, levels, predict, lambda: nothing)
    return tuple(found)

"""Guidance at some noise levels alone (Kynkaanniemi et al., 2024)."""

import dataclasses
import itertools
from typing import get_args

import pytest
import torch
from torch import Tensor

from diffrop.config import WHOLE_RANGE, DiffusionConfig, GuidanceInterval, SamplerKind
from diffrop.config import SamplingConfig as Sampling
from diffrop.diffusion.sampling import (
    Denoiser,
    guided_noise,
    num_guided_evaluations,
    sample,
)
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.diffusion.solvers import evaluated_timesteps
from diffrop.samplers import EVALUATIONS

KINDS = get_args(SamplerKind)
NULL, NUM_IMAGES, OMEGA = 3, 4, 1.5
DIFFUSION = DiffusionConfig(num_timesteps=40, beta_end=0.2)
INTERVALS: list[GuidanceInterval] = [(0.0, 0.5), (0.25, 0.75), (0.4, 1.0), (0.01, 0.02)]
BETWEEN_TIMESTEPS: GuidanceInterval = (0.3 / 40, 0.9 / 40)


class Recorder:
    """Noise that depends on every argument; keeps the timestep and the size of each batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.seen.append((int(t[0]), len(x_t)))
        factor = (1 + labels.to(x_t.dtype)) / (2 + t)
        return torch.sin(x_t) * factor.view(-1, 1, 1, 1) + 0.1 * x_t

    @property
    def evaluations(self) -> float:
        """Of the network, for an image."""
        return sum(size for _, size in self.seen) / NUM_IMAGES


def config(kind: SamplerKind, interval: GuidanceInterval = WHOLE_RANGE) -> Sampling:
    return Sampling(sampler=kind, num_steps=7, clip=False, guidance_interval=interval)


def drawn(model: Denoiser, sampling: Sampling, omega: float) -> Tensor:
    schedule = NoiseSchedule.linear(DIFFUSION)
    labels, generator = torch.arange(NUM_IMAGES) % NULL, torch.Generator().manual_seed(0)
    return sample(model, schedule, sampling, (1, 4, 4), labels, omega, NULL, generator)


@pytest.mark.parametrize("kind", KINDS)
def test_interval_over_every_timestep_is_plain_guidance_and_an_empty_one_is_none(
    kind: SamplerKind,
) -> None:
    def images(interval: GuidanceInterval, omega: float) -> tuple[Tensor, float]:
        model = Recorder()
        return drawn(model, config(kind, interval), omega), model.evaluations

    (plain, twice), (none, once) = images(WHOLE_RANGE, OMEGA), images(WHOLE_RANGE, 0.0)
    (over_all, most), (empty, least) = images((0.0, 0.99), OMEGA), images(BETWEEN_TIMESTEPS, OMEGA)
    assert torch.equal(over_all, plain) and most == twice == 2 * once
    assert torch.equal(empty, none) and least == once
    assert not torch.equal(plain, none)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interval", INTERVALS)
def test_omega_applies_at_timesteps_between_the_ends_alone(
    kind: SamplerKind, interval: GuidanceInterval
) -> None:
    low, high = interval

    def by_hand(x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        omega = OMEGA if low * 40 <= int(t[0]) < high * 40 else 0.0
        return guided_noise(Recorder(), x_t, t, labels, omega, NULL)

    expected = drawn(by_hand, config(kind), omega=0.0)
    assert torch.equal(drawn(Recorder(), config(kind, interval), OMEGA), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("interval", [WHOLE_RANGE, *INTERVALS, BETWEEN_TIMESTEPS])
@pytest.mark.parametrize("omega", [0.0, OMEGA])
def test_evaluations_that_are_said_are_those_that_are_made(
    kind: SamplerKind, interval: GuidanceInterval, omega: float
) -> None:
    model, sampling = Recorder(), config(kind, interval)
    drawn(model, sampling, omega)
    assert num_guided_evaluations(sampling, DIFFUSION, omega) == model.evaluations
    seen = evaluated_timesteps(DIFFUSION, kind, 7)
    assert [t for t, _ in model.seen] == list(seen)
    assert len(seen) == EVALUATIONS[kind](40 if kind == "ancestral" else 7)


def test_heun_is_guided_by_evaluation_not_by_step() -> None:
    seen = evaluated_timesteps(DIFFUSION, "heun", 7)
    middle = seen[5]  # the second evaluation of a step, and the first of the next
    assert seen.count(middle) == 2 and seen[4] > middle > seen[7]
    interval = (middle / 40, (middle + 1) / 40)
    assert num_guided_evaluations(config("heun", interval), DIFFUSION, OMEGA) == 13 + 2


def test_adjoining_intervals_share_no_timestep_and_leave_none_out() -> None:
    for ends in ((0.0, 0.07, 0.29, 0.7, 1.0), (0.0, 0.3, 0.6, 1.0)):
        diffusion = DiffusionConfig(num_timesteps=100)
        base = Sampling(sampler="ancestral")
        extra = [
            num_guided_evaluations(
                dataclasses.replace(base, guidance_interval=pair), diffusion, OMEGA
            )
            - 100
            for pair in itertools.pairwise(ends)
        ]
        assert extra == [round(100 * (b - a)) for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    "interval", [(0.7, 0.2), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (0.5,), (0.1, 0.2, 0.3)]
)
def test_interval_that_is_none_is_refused(interval: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"guidance_interval is \(.*; allowed: two shares of T"):
        Sampling(guidance_interval=interval)  # type: ignore[arg-type]

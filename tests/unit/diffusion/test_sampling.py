import itertools
import math
from collections.abc import Iterator
from typing import get_args

import pytest
import torch
from torch import Tensor

from diffrop.config import DiffusionConfig, SamplerKind, SamplingConfig
from diffrop.diffusion.sampling import (
    Denoiser,
    from_uint8,
    guided_noise,
    sample,
    to_uint8,
)
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.diffusion.solvers import SOLVERS

NULL = 3
MEAN, STD = 0.2, 0.15
PAPER = NoiseSchedule.linear(DiffusionConfig())


class LabelDenoiser:
    """Noise that depends on every argument; counts its calls."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.batch_sizes.append(len(x_t))
        factor = (1 + labels.to(x_t.dtype)) / (2 + t)
        return torch.sin(x_t) * factor.view(-1, 1, 1, 1)


class GaussianDenoiser:
    """E[eps given x_t] for data N(mean, std^2), independent values."""

    def __init__(self, schedule: NoiseSchedule, mean: float, std: float) -> None:
        self.schedule, self.mean, self.std = schedule, mean, std

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        alpha_bar = self.schedule.alpha_bar[t].view(-1, 1, 1, 1)
        variance = alpha_bar * self.std**2 + 1 - alpha_bar
        return (1 - alpha_bar).sqrt() * (x_t - alpha_bar.sqrt() * self.mean) / variance


def draw_images(
    model: Denoiser,
    schedule: NoiseSchedule,
    config: SamplingConfig,
    num_images: int = 4,
    shape: tuple[int, ...] = (1, 4, 4),
    omega: float = 0.0,
    seed: int = 0,
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_images) % NULL
    return sample(model, schedule, config, shape, labels, omega, NULL, generator)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    x_t = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    return x_t, torch.tensor([0, 3, 5, 9]), torch.tensor([0, 1, 2, 0])


def test_zero_guidance_is_the_conditional_branch_alone() -> None:
    model, (x_t, t, labels) = LabelDenoiser(), inputs()
    guided = guided_noise(model, x_t, t, labels, 0.0, NULL)
    assert torch.equal(guided, LabelDenoiser()(x_t, t, labels))
    assert model.batch_sizes == [4]


@pytest.mark.parametrize("omega", [0.5, 1.0, 7.5])
def test_guidance_extrapolates_from_the_null_branch(omega: float) -> None:
    model, (x_t, t, labels) = LabelDenoiser(), inputs()
    guided = guided_noise(model, x_t, t, labels, omega, NULL)
    branch = LabelDenoiser()
    null = branch(x_t, t, torch.full_like(labels, NULL))
    expected = (1 + omega) * branch(x_t, t, labels) - omega * null
    torch.testing.assert_close(guided, expected)
    assert model.batch_sizes == [8]


def test_guidance_changes_nothing_where_all_labels_are_null() -> None:
    x_t, t, labels = inputs()
    null = torch.full_like(labels, NULL)
    guided = guided_noise(LabelDenoiser(), x_t, t, null, 2.0, NULL)
    torch.testing.assert_close(guided, LabelDenoiser()(x_t, t, null))


@pytest.mark.parametrize("num_timesteps", [2, 10, 1000])
def test_ancestral_sampler_visits_every_timestep(num_timesteps: int) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=num_timesteps))
    steps = SOLVERS["ancestral"].timesteps(schedule, 2)
    assert steps == list(reversed(range(num_timesteps)))


@pytest.mark.parametrize("num_steps", [2, 3, 7, 50, 333, 999, 1000])
def test_ddim_timesteps_are_distinct_and_evenly_spaced_from_last_to_first(num_steps: int) -> None:
    steps = SOLVERS["ddim"].timesteps(PAPER, num_steps)
    assert len(steps) == num_steps
    assert (steps[0], steps[-1]) == (999, 0)
    gaps = [a - b for a, b in itertools.pairwise(steps)]
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


def test_single_ddim_step_starts_at_the_noisiest_timestep() -> None:
    assert SOLVERS["ddim"].timesteps(PAPER, 1) == [999]  # x_T is pure noise


@pytest.mark.parametrize(
    "config", [SamplingConfig(num_steps=1000), SamplingConfig(sampler="ancestral")]
)
def test_optimal_denoiser_reproduces_a_gaussian(config: SamplingConfig) -> None:
    model = GaussianDenoiser(PAPER, MEAN, STD)
    values = draw_images(model, PAPER, config, num_images=2000).flatten().double()
    count = len(values)
    # Four standard errors, plus the bias of 1,000 steps: about 1 % of the spread.
    assert abs(values.mean() - MEAN) < 4 * STD / math.sqrt(count) + 0.002 * STD
    assert abs(values.std() / STD - 1) < 4 / math.sqrt(2 * count) + 0.011
    kurtosis = ((values - values.mean()) / values.std()).pow(4).mean()
    assert abs(kurtosis - 3) < 4 * math.sqrt(24 / count)


def test_ddim_error_halves_with_twice_the_steps() -> None:
    start = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    model = GaussianDenoiser(PAPER, MEAN, STD)
    errors = []
    for num_steps in (250, 500, 1000):
        images = draw_images(model, PAPER, SamplingConfig(num_steps=num_steps))
        # The probability flow carries x_T = n to MEAN + STD n.
        errors.append((images - (MEAN + STD * start)).abs().max().item())
    assert errors[-1] < 0.05 * STD
    for error, halved in itertools.pairwise(errors):
        assert 0.4 < halved / error < 0.65


class Steps:
    """Wrap a denoiser and keep every (x_t, t, eps) it saw."""

    def __init__(self, model: Denoiser) -> None:
        self.model = model
        self.seen: list[tuple[Tensor, int, Tensor]] = []

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        eps = self.model(x_t, t, labels)
        self.seen.append((x_t, int(t[0]), eps))
        return eps


def ancestral_noises(num_images: int, num_timesteps: int) -> Iterator[Tensor]:
    """The draws behind x_T, x_{T-1}, ... of `draw_images` with seed 0."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(num_timesteps):
        yield torch.randn(num_images, 1, 4, 4, generator=generator)


@pytest.mark.parametrize(("clip", "centre"), [(True, MEAN), (False, MEAN), (False, 3.0)])
def test_ancestral_step_is_mu_plus_noise_of_variance_beta(clip: bool, centre: float) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=50, beta_end=0.2))
    model = Steps(GaussianDenoiser(schedule, centre, STD))
    last = draw_images(model, schedule, SamplingConfig(sampler="ancestral", clip=clip))
    noises = list(ancestral_noises(4, 50))
    torch.testing.assert_close(model.seen[0][0], noises[0])
    for index, (x_t, step, eps) in enumerate(model.seen):
        t = torch.full((4,), step)
        in_range = schedule.x_0(x_t, t, eps).abs().max().item() < 1
        assert in_range == (centre == MEAN)
        mean = schedule.mu(x_t, t, eps)
        if step == 0:
            torch.testing.assert_close(last, mean, rtol=0, atol=1e-4)
        else:
            noise = schedule.beta[step].sqrt() * noises[index + 1]
            following = model.seen[index + 1][0]
            torch.testing.assert_close(following, mean + noise, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("clip", "mean"), [(True, MEAN), (False, MEAN), (False, 3.0)])
def test_ddim_step_keeps_the_predicted_noise(clip: bool, mean: float) -> None:
    model = Steps(GaussianDenoiser(PAPER, mean, STD))
    draw_images(model, PAPER, SamplingConfig(num_steps=10, clip=clip))
    for (x_t, step, eps), (following, then, _) in zip(model.seen, model.seen[1:], strict=False):
        x_0 = PAPER.x_0(x_t, torch.full((4,), step), eps)
        expected = PAPER.q_sample(x_0, torch.full((4,), then), eps)
        torch.testing.assert_close(following, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_images_stay_in_range_for_a_bad_denoiser(sampler: str) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=20))
    config = SamplingConfig(sampler=sampler, num_steps=20)
    images = draw_images(lambda x_t, t, labels: -100 * x_t, schedule, config)
    assert images.shape == (4, 1, 4, 4)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1


@pytest.mark.parametrize("omega", [0.0, 1.5])
@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_same_seed_gives_the_same_images_and_another_seed_others(
    sampler: str, omega: float
) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=20))
    config = SamplingConfig(sampler=sampler, num_steps=5)
    model = GaussianDenoiser(schedule, MEAN, STD)
    first, again, other = (
        draw_images(model, schedule, config, omega=omega, seed=seed) for seed in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_global_random_state_is_neither_used_nor_moved(sampler: str) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=10))
    config = SamplingConfig(sampler=sampler, num_steps=5)
    before = torch.get_rng_state()
    draw_images(GaussianDenoiser(schedule, MEAN, STD), schedule, config)
    assert torch.equal(torch.get_rng_state(), before)


def test_guidance_reaches_the_images() -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=20))
    config = SamplingConfig(num_steps=5)
    plain, guided = (
        draw_images(LabelDenoiser(), schedule, config, omega=omega) for omega in (0.0, 2.0)
    )
    assert not torch.equal(plain, guided)


def test_samples_carry_no_gradient() -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=4))
    weight = torch.ones((), requires_grad=True)
    config = SamplingConfig(num_steps=2)
    images = draw_images(lambda x_t, t, labels: weight * x_t, schedule, config)
    assert not images.requires_grad


def test_bfloat16_denoiser_gives_float32_images() -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=10))
    config = SamplingConfig(sampler="ancestral", num_steps=2)
    images = draw_images(lambda x_t, t, labels: x_t.bfloat16(), schedule, config)
    assert images.dtype == torch.float32


@pytest.mark.parametrize("sampler", get_args(SamplerKind))
def test_clipping_changes_images_and_only_where_a_prediction_leaves_the_range(
    sampler: SamplerKind,
) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=20))
    configs = [SamplingConfig(sampler=sampler, num_steps=6, clip=clip) for clip in (True, False)]
    inside, outside = (
        [
            draw_images(GaussianDenoiser(schedule, mean, 0.01), schedule, config)
            for config in configs
        ]
        for mean in (0.3, 1.5)
    )
    assert torch.equal(*inside)
    assert outside[0].max() == 1 and outside[1].min() > 1.3


def test_uint8_round_trip_is_exact() -> None:
    levels = torch.arange(256).to(torch.uint8)
    images = from_uint8(levels)
    assert images.dtype == torch.float32
    assert (images[0].item(), images[-1].item()) == (-1, 1)
    assert torch.equal(to_uint8(images), levels)


def test_quantisation_takes_the_nearest_level_and_clips() -> None:
    half = 1 / 255  # half a level in [-1, 1]
    values = torch.tensor([-2.0, -1.0, -1 + 0.9 * half, -1 + 1.1 * half, 1.0, 1.5])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 255, 255]

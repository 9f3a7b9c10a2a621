import itertools

import pytest
import torch

from benchmarks.sampling_quality import SPACINGS, ExactScore, Mixture, spacing_rows
from diffrop.config import DiffusionConfig, SamplingConfig
from diffrop.diffusion.sampling import sample
from diffrop.diffusion.schedule import NoiseSchedule


def test_posterior_mean_is_that_of_many_draws() -> None:
    mixture = Mixture.random(num_modes=3, num_values=2, std=0.3)
    alpha, sigma = 0.8, 0.6
    generator = torch.Generator().manual_seed(0)
    modes = torch.randint(3, (1_000_000,), generator=generator)
    x_0 = torch.randn(1_000_000, 2, dtype=torch.float64, generator=generator)
    x_0 = mixture.means[modes] + mixture.std * x_0
    x_t = torch.tensor([[0.3, -0.2], [0.0, 0.5]], dtype=torch.float64)
    for place, found in zip(x_t, mixture.clean(x_t, alpha, sigma), strict=True):
        weights = (-(place - alpha * x_0).square().sum(1) / (2 * sigma**2)).softmax(0)
        torch.testing.assert_close(found, weights @ x_0, rtol=0, atol=3e-3)


def test_fine_solution_is_reached_by_many_steps_and_better_by_second_order() -> None:
    score = ExactScore(Mixture.random(num_modes=3, num_values=2, std=0.4), 32, fine_steps=1000)
    few, many = (
        [
            score.error(SamplingConfig(sampler=kind, num_steps=count, clip=False))
            for kind in ("ddim", "dpmpp")
        ]
        for count in (20, 200)
    )
    assert many[0] < few[0] / 5 and many[1] < few[1] / 5
    assert few[1] < few[0] / 5 and many[1] < 1e-3


def test_spacings_are_of_distinct_timesteps_and_dpmpps_own_is_among_them() -> None:
    score = ExactScore(Mixture.random(num_modes=3, num_values=2, std=0.4), 32, fine_steps=500)
    for name, spacing in SPACINGS.items():
        steps = spacing(score.schedule, 10)
        assert steps[0] == 999 and len(steps) == 10 and steps[-1] >= 0, name
        assert all(a > b for a, b in itertools.pairwise(steps)), name
    rows = list(spacing_rows("plane", score))
    own = score.error(SamplingConfig(sampler="dpmpp", num_steps=10, clip=False))
    assert rows[0].ours == pytest.approx(own)
    assert len({row.ours for row in rows}) == len(rows) == len(SPACINGS)


def test_samples_have_the_moments_of_the_mixture() -> None:
    mixture = Mixture.random(num_modes=3, num_values=2, std=0.2)
    schedule = NoiseSchedule.linear(DiffusionConfig(), torch.float64)
    labels = torch.zeros(4000, dtype=torch.int64)
    config = SamplingConfig(sampler="dpmpp", num_steps=50, clip=False)
    generator = torch.Generator().manual_seed(0)
    model = mixture.denoiser(schedule)
    found = sample(model, schedule, config, (2,), labels, 0.0, 1, generator)
    variance = mixture.std**2 + mixture.means.var(0, correction=0)
    error = 4 * (variance / len(found)).sqrt()
    assert ((found.mean(0) - mixture.means.mean(0)).abs() < error).all()
    torch.testing.assert_close(found.var(0), variance, rtol=0.1, atol=0)

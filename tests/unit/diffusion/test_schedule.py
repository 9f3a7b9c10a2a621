from dataclasses import fields

import pytest
import torch
from torch import Tensor

from diffrop.config import DiffusionConfig
from diffrop.diffusion.schedule import NoiseSchedule, at

PAPER = DiffusionConfig()


def closed_form(config: DiffusionConfig) -> NoiseSchedule:
    """The tables in float64, alpha_bar as an explicit running product."""
    steps = config.num_timesteps
    beta = torch.linspace(config.beta_start, config.beta_end, steps, dtype=torch.float64)
    alpha = 1 - beta
    products, product = [], 1.0
    for value in alpha.tolist():
        product *= value
        products.append(product)
    alpha_bar = torch.tensor(products, dtype=torch.float64)
    mu_eps = (1 - alpha) / (alpha.sqrt() * (1 - alpha_bar).sqrt())
    return NoiseSchedule(beta, alpha, alpha_bar, 1 - alpha_bar, mu_eps)


def images(num_images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_images, 3, 4, 4)
    x_0 = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
    return x_0, torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    "config",
    [PAPER, DiffusionConfig(num_timesteps=2), DiffusionConfig(beta_start=0.01, beta_end=0.01)],
)
def test_tables_equal_their_closed_forms(config: DiffusionConfig) -> None:
    schedule, exact = NoiseSchedule.linear(config), closed_form(config)
    assert schedule.num_timesteps == config.num_timesteps
    for name in ("beta", "alpha", "alpha_bar", "one_minus_alpha_bar", "mu_eps"):
        table = getattr(schedule, name)
        assert table.dtype == torch.float32
        # Cast once: half a unit in the last place of float32.
        torch.testing.assert_close(table.double(), getattr(exact, name), rtol=6e-8, atol=0)


@pytest.mark.parametrize(
    ("t", "alpha_bar", "rounding"),
    [
        (0, 1.0, 0.0005),
        (100, 0.895, 0.0005),
        (250, 0.521, 0.0025),
        (500, 0.078, 0.0005),
        (750, 0.003, 0.0005),
        (999, 4e-5, 0.5e-5),
    ],
)
def test_alpha_bar_has_the_published_values(t: int, alpha_bar: float, rounding: float) -> None:
    assert abs(NoiseSchedule.linear(PAPER).alpha_bar[t].item() - alpha_bar) <= rounding


def test_weight_of_the_noise_in_mu_is_0_006_to_0_020() -> None:
    mu_eps = NoiseSchedule.linear(PAPER).mu_eps
    assert round(mu_eps.min().item(), 3) == 0.006
    assert round(mu_eps.max().item(), 3) == 0.020


@pytest.mark.parametrize("t", [0, 1, 100, 500, 999])
def test_x_0_inverts_q_sample(t: int) -> None:
    schedule = closed_form(PAPER)
    x_0, eps = images(2)
    steps = torch.full((2,), t)
    x_t = schedule.q_sample(x_0, steps, eps)
    torch.testing.assert_close(schedule.x_0(x_t, steps, eps), x_0, rtol=1e-9, atol=1e-10)


def test_q_sample_keeps_unit_variance_of_unit_variance_data() -> None:
    schedule = closed_form(PAPER)
    t = torch.arange(1000)
    ones = torch.ones(1000, 1, dtype=torch.float64)
    signal = schedule.q_sample(ones, t, torch.zeros_like(ones))
    noise = schedule.q_sample(torch.zeros_like(ones), t, ones)
    torch.testing.assert_close(signal.square() + noise.square(), ones)


@pytest.mark.parametrize("t", [1, 2, 100, 500, 999])
def test_mu_of_the_true_noise_is_the_gaussian_posterior_mean(t: int) -> None:
    schedule = closed_form(PAPER)
    x_0, eps = images(3)
    steps = torch.full((3,), t)
    x_t = schedule.q_sample(x_0, steps, eps)
    # q(x_{t-1} | x_0) times q(x_t | x_{t-1}), by precision-weighted averaging.
    before, beta = schedule.alpha_bar[t - 1], schedule.beta[t]
    prior_precision, likelihood_precision = 1 / (1 - before), (1 - beta) / beta
    prior_mean, likelihood_mean = before.sqrt() * x_0, x_t / (1 - beta).sqrt()
    posterior = prior_precision * prior_mean + likelihood_precision * likelihood_mean
    posterior = posterior / (prior_precision + likelihood_precision)
    torch.testing.assert_close(schedule.mu(x_t, steps, eps), posterior, rtol=1e-9, atol=1e-10)


def test_mu_of_the_true_noise_at_the_first_step_is_the_clean_image() -> None:
    schedule = closed_form(PAPER)
    x_0, eps = images(3)
    t = torch.zeros(3, dtype=torch.int64)
    mu = schedule.mu(schedule.q_sample(x_0, t, eps), t, eps)
    torch.testing.assert_close(mu, x_0, rtol=1e-10, atol=1e-12)


def test_each_image_takes_its_own_timestep() -> None:
    schedule = closed_form(PAPER)
    x_0, eps = images(3)
    t = torch.tensor([7, 500, 999])
    for method in (schedule.q_sample, schedule.mu, schedule.x_0):
        singly = [method(x_0[i : i + 1], t[i : i + 1], eps[i : i + 1]) for i in range(3)]
        torch.testing.assert_close(method(x_0, t, eps), torch.cat(singly))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("num_dims", [1, 2, 4])
def test_table_lookup_broadcasts_in_the_dtype_of_the_images(
    dtype: torch.dtype, num_dims: int
) -> None:
    like = torch.zeros((3, 2, 2, 2)[:num_dims], dtype=dtype)
    values = at(torch.arange(10.0), torch.tensor([9, 0, 4]), like)
    assert values.dtype == dtype
    assert values.shape == (3,) + (1,) * (num_dims - 1)
    assert values.flatten().tolist() == [9, 0, 4]


def test_schedule_moves_as_a_whole() -> None:
    moved = NoiseSchedule.linear(PAPER).to("meta")
    tables = [getattr(moved, item.name) for item in fields(moved)]
    assert {table.device.type for table in tables} == {"meta"}

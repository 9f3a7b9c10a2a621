"""Solvers against diffusers' schedulers, against exact scores, and against each other."""

import dataclasses
import itertools
import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    HeunDiscreteScheduler,
)
from torch import Tensor

from benchmarks.sampling_quality import Mixture
from diffrop.config import DiffusionConfig, SamplerKind, SamplingConfig
from diffrop.diffusion.sampling import sample
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.diffusion.solvers import CLEAN, SOLVERS, NoiseLevel
from diffrop.samplers import EVALUATIONS

DIFFUSION = DiffusionConfig()
EXACT = NoiseSchedule.linear(DIFFUSION, torch.float64)
SHORT = DiffusionConfig(num_timesteps=20, beta_end=0.5)
EXACT_SHORT = NoiseSchedule.linear(SHORT, torch.float64)
FEW_STEP = ("ddim", "dpmpp", "heun")
SHAPE, NUM_IMAGES = (1, 3, 3), 4


class TableDenoiser:
    """A smooth network in float64 that depends on t, and counts its evaluations."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.seen.append(int(t[0]))
        time = t.to(x_t.dtype).view(-1, 1, 1, 1) / 1000
        return torch.sin(1.5 * x_t + time) * (0.6 + 0.4 * time) + 0.1 * labels.view(-1, 1, 1, 1)


def drawn(
    sampler: SamplerKind,
    num_steps: int,
    clip: bool,
    model: Any = None,
    schedule: NoiseSchedule = EXACT,
) -> Tensor:
    config = SamplingConfig(sampler=sampler, num_steps=num_steps, clip=clip)
    labels, generator = torch.arange(NUM_IMAGES), torch.Generator().manual_seed(0)
    model = model or TableDenoiser()
    return sample(model, schedule, config, SHAPE, labels, 0.0, NUM_IMAGES, generator)


def options_of(diffusion: DiffusionConfig) -> dict[str, Any]:
    """What makes a scheduler of diffusers take these levels of noise."""
    ends = {"beta_start": diffusion.beta_start, "beta_end": diffusion.beta_end}
    return {"num_train_timesteps": diffusion.num_timesteps, **ends}


def first_noise(generator: torch.Generator) -> Tensor:
    return torch.randn(NUM_IMAGES, *SHAPE, generator=generator).double()


def drawn_by_diffusers(
    sampler: str, timesteps: list[int], clip: bool, diffusion: DiffusionConfig = DIFFUSION
) -> Tensor:
    """The same images by diffusers' scheduler, which takes its steps in float32."""
    options = options_of(diffusion)
    generator = torch.Generator().manual_seed(0)
    x_t = first_noise(generator)
    kwargs: dict[str, Any] = {}
    match sampler:
        case "heun":
            scheduler = HeunDiscreteScheduler(**options, clip_sample=clip)
        case "ancestral":
            scheduler = DDPMScheduler(**options, clip_sample=clip, variance_type="fixed_large")
            kwargs = {"generator": generator}
        case _:
            order = {"ddim": 1, "dpmpp": 2}[sampler]
            scheduler = DPMSolverMultistepScheduler(
                **options, solver_order=order, thresholding=clip, sample_max_value=1.0
            )
    scheduler.set_timesteps(timesteps=timesteps)
    if sampler == "heun":
        x_t = x_t * (scheduler.sigmas[0].double() ** 2 + 1).sqrt()
    model, labels = TableDenoiser(), torch.arange(NUM_IMAGES)
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x_t, t)
        eps = model(scaled, torch.full_like(labels, int(t)), labels)
        if sampler == "ancestral":  # diffusers draws noise in the dtype of the network's output
            eps, x_t = eps.float(), x_t.float()
        x_t = scheduler.step(eps, t, x_t, **kwargs).prev_sample.double()
    return x_t


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    ("sampler", "num_steps"),
    [
        *itertools.product(("ddim", "dpmpp"), (1, 2, 5, 20, 100)),
        *[("heun", n) for n in (1, 2, 5, 20, 100)],
        ("ancestral", 1000),
    ],
)
def test_images_are_those_of_diffusers_scheduler_on_the_same_timesteps(
    sampler: SamplerKind, num_steps: int, clip: bool
) -> None:
    ours = drawn(sampler, num_steps, clip)
    timesteps = SOLVERS[sampler].timesteps(EXACT, num_steps)
    theirs = drawn_by_diffusers(sampler, timesteps, clip)
    assert ours.dtype == torch.float64
    error = (ours - theirs).norm() / theirs.norm()
    assert error < 1e-4 * (10 if sampler == "ancestral" else 1)  # its variances lose digits


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("sampler", FEW_STEP)
def test_run_over_every_timestep_is_that_of_diffusers_scheduler(
    sampler: SamplerKind, clip: bool
) -> None:
    ours = drawn(sampler, SHORT.num_timesteps, clip, schedule=EXACT_SHORT)
    every = list(reversed(range(SHORT.num_timesteps)))
    theirs = drawn_by_diffusers(sampler, every, clip, SHORT)
    assert (ours - theirs).norm() / theirs.norm() < 1e-4


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("all_steps", [True, False])
@pytest.mark.parametrize("diffusion", [SHORT, DIFFUSION], ids=["short", "published"])
def test_ddim_is_diffusers_ddim_where_both_take_the_same_timesteps(
    diffusion: DiffusionConfig, all_steps: bool, clip: bool
) -> None:
    """That is with one step and with all T: between them diffusers goes down by T // N."""
    count = diffusion.num_timesteps if all_steps else 1
    options = {**options_of(diffusion), "timestep_spacing": "trailing", "clip_sample": clip}
    scheduler = DDIMScheduler(**options)
    scheduler.set_timesteps(count)
    schedule = NoiseSchedule.linear(diffusion, torch.float64)
    assert scheduler.timesteps.tolist() == SOLVERS["ddim"].timesteps(schedule, count)
    x_t, model = first_noise(torch.Generator().manual_seed(0)), TableDenoiser()
    labels = torch.arange(NUM_IMAGES)
    for t in scheduler.timesteps.tolist():
        eps = model(x_t, torch.full_like(labels, t), labels)
        # The noise that the clipped image leaves, as in Song et al.; not the network's own.
        x_t = scheduler.step(eps, t, x_t, use_clipped_model_output=True).prev_sample
    ours = drawn("ddim", count, clip, schedule=schedule)
    assert (ours - x_t).norm() / x_t.norm() < 1e-4


@pytest.mark.parametrize("sampler", FEW_STEP)
@pytest.mark.parametrize("num_timesteps", [2, 10, 1000])
def test_timesteps_fall_from_the_last_and_are_distinct_for_every_number(
    sampler: SamplerKind, num_timesteps: int
) -> None:
    schedule = NoiseSchedule.linear(DiffusionConfig(num_timesteps=num_timesteps))
    for count in {1, 2, 3, 7, 9, 10, 50, 333, 999, 1000} & set(range(1, num_timesteps + 1)):
        steps = SOLVERS[sampler].timesteps(schedule, count)
        assert len(steps) == count and steps[0] == num_timesteps - 1 and steps[-1] >= 0
        assert all(a > b for a, b in itertools.pairwise(steps))
    every = SOLVERS[sampler].timesteps(schedule, num_timesteps)
    assert every == list(reversed(range(num_timesteps)))


def test_log_snr_and_edm_spacing_are_even_in_their_measure_up_to_whole_timesteps() -> None:
    ratio = (EXACT.one_minus_alpha_bar / EXACT.alpha_bar).sqrt().numpy()
    for sampler, measure in (("dpmpp", np.log(ratio)), ("heun", ratio ** (1 / 7))):
        steps = SOLVERS[sampler].timesteps(EXACT, 10)  # type: ignore[index]
        ends = 0 if sampler == "dpmpp" else steps[-1]
        count = 11 if sampler == "dpmpp" else 10
        wanted = np.linspace(measure[999], measure[ends], count)[:10]
        for step, value in zip(steps, wanted, strict=True):
            near = measure[[max(step - 1, 0), min(step + 1, 999)]]
            assert near[0] <= value <= near[1]
    assert SOLVERS["heun"].timesteps(EXACT, 10)[-1] == 0


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("sampler", get_args(SamplerKind))
@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_network_is_evaluated_as_often_as_is_said(
    sampler: SamplerKind, num_steps: int, clip: bool
) -> None:
    model = TableDenoiser()
    images = drawn(sampler, num_steps, clip, model)
    steps = 1000 if sampler == "ancestral" else num_steps
    assert len(model.seen) == EVALUATIONS[sampler](steps)
    assert images.isfinite().all()
    assert not clip or images.abs().max() <= 1


def test_one_step_of_each_solver_is_the_predicted_clean_image() -> None:
    first, *others = (drawn(sampler, 1, False) for sampler in FEW_STEP)
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-9, atol=1e-9)


def test_first_step_of_dpm_solver_is_that_of_ddim() -> None:
    model = TableDenoiser()
    levels = [level(0.9), level(0.5), CLEAN]

    def predict(x_t: Tensor, at: NoiseLevel) -> Tensor:
        return model(x_t, torch.zeros(len(x_t)), torch.zeros(len(x_t)))

    x_t = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ddim, dpmpp = (SOLVERS[name].solve(x_t, levels, predict, x_t.clone) for name in FEW_STEP[:2])
    torch.testing.assert_close(ddim, dpmpp, rtol=1e-12, atol=1e-12)  # the last is, too


def level(sigma: float) -> NoiseLevel:
    """A level of the variance-preserving process at a real-valued time."""
    return NoiseLevel(t=0, alpha=math.sqrt(1 - sigma**2), sigma=sigma, beta=0.0)


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("dpmpp", 2), ("heun", 2)])
def test_order_of_convergence_on_an_exact_score(sampler: SamplerKind, order: int) -> None:
    mixture = Mixture.random(num_modes=3, num_values=4, std=0.4)
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randn(64, 4, dtype=torch.float64, generator=generator)

    def predict(x: Tensor, at: NoiseLevel) -> Tensor:
        return mixture.clean(x, at.alpha, at.sigma)

    def solved(name: SamplerKind, num_steps: int) -> Tensor:
        """Even steps in log(alpha / sigma), between fixed ends, the last not the clean image."""
        log_snr = np.linspace(-2.0, 3.0, num_steps + 1)
        levels = [level(1 / math.sqrt(1 + math.exp(2 * value))) for value in log_snr]
        return SOLVERS[name].solve(x_t, levels, predict, x_t.clone)

    fine = solved("heun", 4096)
    errors = [(solved(sampler, count) - fine).norm().item() for count in (64, 128, 256)]
    for coarse, half in itertools.pairwise(errors):
        assert abs(math.log2(coarse / half) - order) < 0.15


@pytest.mark.parametrize("sampler", FEW_STEP)
def test_solvers_agree_where_steps_are_many(sampler: SamplerKind) -> None:
    mixture = Mixture.random(num_modes=3, num_values=9, std=0.4)
    images, fine = (
        drawn(name, 1000, False, mixture.denoiser(EXACT)) for name in (sampler, "dpmpp")
    )
    assert (images - fine).norm() / fine.norm() < 0.02


@pytest.mark.parametrize("sampler", get_args(SamplerKind))
@pytest.mark.parametrize("omega", [0.0, 0.7])
def test_part_of_a_batch_has_the_images_of_the_whole(sampler: SamplerKind, omega: float) -> None:
    config = SamplingConfig(sampler=sampler, num_steps=3)
    schedule = NoiseSchedule.linear(dataclasses.replace(DIFFUSION, num_timesteps=12))
    labels = torch.arange(6) % 3

    def images(part: slice) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        whole = {"batch_size": 6, "start": part.start}
        return sample(
            TableDenoiser(), schedule, config, SHAPE, labels[part], omega, 3, generator, **whole
        )

    both = torch.cat([images(slice(0, 4)), images(slice(4, 6))])
    torch.testing.assert_close(both, images(slice(0, 6)), rtol=1e-5, atol=1e-6)

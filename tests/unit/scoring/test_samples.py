from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.scoring.samples import CandidateSamples, ScoringInputs, draw_samples
from diffrop.study.sampling_choice import fixed_choice, sampling_choices
from tests.made.denoiser import Denoiser
from tests.made.small import small_experiment, small_inputs


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


def draw(count: int, omega: float = 0.0, start: int = 0, **changes: Any) -> Tensor:
    config = small_experiment(**changes)
    labels = torch.zeros(count, dtype=torch.int64)
    return draw_samples(
        Denoiser(),
        NoiseSchedule.linear(config.diffusion),
        config.sampling,
        (1, 8, 8),
        labels,
        omega,
        10,
        seed=1,
        start=start,
    )


def test_noise_does_not_depend_on_omega() -> None:
    noise = [image.float().flatten() for image in (draw(20, 0.0), draw(20, 0.1))]
    assert torch.corrcoef(torch.stack(noise))[0, 1] > 0.9


@pytest.mark.parametrize("sampler", ["ddim", "ancestral"])
def test_any_part_of_the_samples_is_that_part_of_all(sampler: str) -> None:
    changes = {"sampling__sampler": sampler, "diffusion__num_timesteps": 12}
    whole = draw(50, **changes)  # chunks of 20
    assert torch.equal(draw(13, **changes), whole[:13])
    assert torch.equal(draw(29, start=13, **changes), whole[13:42])
    assert not torch.equal(whole[:10], whole[20:30])


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp", "heun", "ancestral"])
def test_any_part_is_that_part_of_all_where_guidance_has_an_interval(sampler: str) -> None:
    changes = {
        "sampling__sampler": sampler,
        "sampling__num_steps": 5,
        "sampling__guidance_interval": [0.2, 0.7],
        "diffusion__num_timesteps": 12,
    }
    whole = draw(50, 2.0, **changes)
    assert torch.equal(draw(13, 2.0, **changes), whole[:13])
    assert torch.equal(draw(29, 2.0, start=13, **changes), whole[13:42])
    plain = draw(50, 2.0, **changes | {"sampling__guidance_interval": [0, 1]})
    assert not torch.equal(plain, whole)


@pytest.mark.parametrize(
    "sampler",
    [
        "dpmpp-3-unclipped",
        "ddim-3-guide-0.25",
        "dpmpp-3-ema-0.1",
        "heun-2-unclipped-guided-0.2-0.7-guide-0.25-ema-0.1",
        "ancestral-12-unclipped-guide-0.25-ema-0.1",
    ],
)
def test_first_samples_of_more_are_the_same_for_every_choice(
    sampler: str, inputs: ScoringInputs
) -> None:
    config = small_experiment(training__ema_lengths=[0.1], diffusion__num_timesteps=12)
    networks, guides = {None: Denoiser(), 0.1: Denoiser(0.25)}, {0.25: Denoiser(0.1)}
    schedule = NoiseSchedule.linear(config.diffusion)

    def drawn(name: str, *counts: int) -> Tensor:
        (choice,) = sampling_choices(fixed_choice(config, 2.0, name))
        samples = CandidateSamples(networks, schedule, config, inputs, guides=guides)
        for count in counts:
            samples.scores([choice], count, 90)
        return samples.first_images(choice)

    few, grown, whole = drawn(sampler, 30), drawn(sampler, 30, 90), drawn(sampler, 90)
    assert torch.equal(grown, whole)  # in batches of 20
    assert torch.equal(few, whole[:30])
    if sampler != "dpmpp-3-unclipped":  # clipping at the end alone gives the same of this network
        plain = "-".join(sampler.split("-")[:2])
        assert not torch.equal(whole, drawn(plain, 90))


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_even_a_part_of_one_chunk(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = draw(15, start=2), []
    reduced: Callable[[Tensor], None] = lambda images: None  # noqa: E731
    monkeypatch.setattr("diffrop.scoring.samples.dist.all_reduce", reduced)
    monkeypatch.setattr("diffrop.distributed.gathered", lambda value: [value])
    monkeypatch.setattr("diffrop.distributed.world_size", lambda: workers)
    for rank in range(workers):
        monkeypatch.setattr("diffrop.distributed.rank", lambda rank=rank: rank)
        parts.append(draw(15, start=2))
    assert torch.equal(sum(part.int() for part in parts), whole.int())
    shares = [int((part.flatten(1) != 0).any(dim=1).sum()) for part in parts]
    assert max(shares) - min(shares) <= 1

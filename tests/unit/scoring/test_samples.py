from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.scoring.samples import draw_samples
from tests.made.denoiser import Denoiser
from tests.made.small import small_experiment


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

import dataclasses
from typing import get_args

import pytest

from diffrop.config import SamplerKind, SamplingConfig
from diffrop.diffusion.solvers import SOLVERS
from diffrop.samplers import EVALUATIONS, capped, named_sampler, num_evaluations, sampler_name

OWN = SamplingConfig(sampler="ancestral", batch_size=7, clip=False, ema_length=0.3)
KINDS = get_args(SamplerKind)


def named(name: str, num_timesteps: int = 1000, lengths: tuple[float, ...] = ()) -> SamplingConfig:
    return named_sampler(name, OWN, num_timesteps, lengths)


def test_every_sampler_has_a_name_a_cost_and_steps() -> None:
    assert set(KINDS) == set(EVALUATIONS) == set(SOLVERS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("length", [None, 0.05, 0.1])
def test_names_are_read_as_they_were_written(
    kind: SamplerKind, clip: bool, length: float | None
) -> None:
    steps = 20 if kind == "ancestral" else 8
    sampling = dataclasses.replace(
        OWN, sampler=kind, num_steps=steps, clip=clip, ema_length=length
    )
    name = sampler_name(sampling, 20)
    assert named(name, 20, (0.05, 0.1)) == sampling
    assert ("unclipped" in name) == (not clip)


def test_defaults_are_not_in_the_name() -> None:
    assert sampler_name(SamplingConfig(num_steps=8), 1000) == "ddim-8"
    assert sampler_name(SamplingConfig(sampler="ancestral"), 1000) == "ancestral-1000"
    published = SamplingConfig(sampler="ancestral", clip=False)
    assert sampler_name(published, 1000) == "ancestral-1000-unclipped"
    assert named("ancestral-unclipped") == named("ancestral-1000-unclipped")
    assert named("ddim-8").clip  # whatever the study's own sampler does


@pytest.mark.parametrize(
    "name",
    [
        "euler-8",
        "ddim",
        "ddim-0",
        "ddim-1001",
        "ddim--8",
        "ddim-8-clipped",
        "ddim-8-unclipped-unclipped",
        "ddim-8-ema-0.1-unclipped",
        "ddim-8-ema-0.2",
        "ddim-" + "9" * 5000,
        "ancestral-999",
        "ancestral-0",
        "",
        " ddim-8",
        "ddim-8\n",
    ],
)
def test_names_that_cannot_be_read_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(
        ValueError, match=r"sampler is .*; allowed: ancestral, or ddim-STEPS"
    ) as found:
        named(name, lengths=(0.1,))
    assert "1 to 1000 steps" in str(found.value) and "-unclipped" in str(found.value)
    assert "-ema-LENGTH, one of 0.1" in str(found.value)
    assert "\n" not in str(found.value) and len(str(found.value)) < 300


def test_averages_are_not_offered_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="allowed") as found:
        named("ddim-8-ema-0.1")
    assert "LENGTH" not in str(found.value)


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_takes_two_evaluations_a_time(kind: SamplerKind) -> None:
    sampling = SamplingConfig(sampler=kind, num_steps=5)
    plain = num_evaluations(sampling, 50, omega=0)
    assert num_evaluations(sampling, 50, omega=0.5) == 2 * plain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 2, 7, 10, 49])
def test_cap_allows_as_many_steps_as_fit(kind: SamplerKind, limit: int) -> None:
    full = SamplingConfig(sampler=kind, num_steps=50, clip=False)
    found = capped(full, 50, limit)
    assert num_evaluations(found, 50, omega=0) <= limit and not found.clip
    assert found.sampler == ("ddim" if kind == "ancestral" else kind)
    more = dataclasses.replace(found, num_steps=found.num_steps + 1)
    assert num_evaluations(more, 50, omega=0) > limit
    assert capped(full, 50, None) == full

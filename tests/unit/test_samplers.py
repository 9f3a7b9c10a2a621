import dataclasses
from typing import get_args

import pytest

from diffrop.config import WHOLE_RANGE, GuidanceInterval, SamplerKind, SamplingConfig
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
@pytest.mark.parametrize("interval", [WHOLE_RANGE, (0.0, 0.7), (1e-5, 1 / 3)])
@pytest.mark.parametrize("guide", [None, 0.25, 1e-5, 1 / 3])
def test_names_are_read_as_they_were_written(
    kind: SamplerKind,
    clip: bool,
    length: float | None,
    interval: GuidanceInterval,
    guide: float | None,
) -> None:
    steps = 20 if kind == "ancestral" else 8
    changes = {"num_steps": steps, "ema_length": length, "guidance_interval": interval}
    sampling = dataclasses.replace(OWN, sampler=kind, clip=clip, guide=guide, **changes)
    name = sampler_name(sampling, 20)
    assert named(name, 20, (0.05, 0.1)) == sampling
    assert ("unclipped" in name) == (not clip)
    assert ("guided" in name) == (interval != WHOLE_RANGE)
    assert ("guide-" in name) == (guide is not None)


def test_defaults_are_not_in_the_name() -> None:
    assert sampler_name(SamplingConfig(num_steps=8), 1000) == "ddim-8"
    assert sampler_name(SamplingConfig(sampler="ancestral"), 1000) == "ancestral-1000"
    published = SamplingConfig(sampler="ancestral", clip=False)
    assert sampler_name(published, 1000) == "ancestral-1000-unclipped"
    assert named("ancestral-unclipped") == named("ancestral-1000-unclipped")
    assert named("ddim-8").clip  # whatever the study's own sampler does
    assert named("heun-5-guided-0-1") == named("heun-5")
    partly = SamplingConfig(num_steps=8, guidance_interval=(0.2, 0.7), guide=0.25, ema_length=0.1)
    assert sampler_name(partly, 1000) == "ddim-8-guided-0.2-0.7-guide-0.25-ema-0.1"


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
        "ddim-8-guided-0.2",
        "ddim-8-guided-0.2-0.7-unclipped",
        "ddim-8-guided--0.2-0.7",
        "ddim-8-guided-a-b",
        "ddim-8-guide",
        "ddim-8-guide-x",
        "ddim-8-guide-0.2-guided-0.2-0.7",
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
    offered = (
        "-guided-LOW-HIGH, shares of T; -guide-SHARE, of the training; -ema-LENGTH, one of 0.1"
    )
    assert offered in str(found.value)
    assert "\n" not in str(found.value) and len(str(found.value)) < 320


@pytest.mark.parametrize("share", ["0", "1", "2.5"])
def test_guide_of_a_name_is_checked(share: str) -> None:
    with pytest.raises(ValueError, match=rf"guide is {share}.*; allowed: a share of the training"):
        named(f"ddim-8-guide-{share}")


def test_interval_of_a_name_is_checked() -> None:
    with pytest.raises(ValueError, match=r"guidance_interval is \(0\.7, 0\.2\); allowed"):
        named("ddim-8-guided-0.7-0.2")


def test_averages_are_not_offered_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="allowed") as found:
        named("ddim-8-ema-0.1")
    assert "LENGTH" not in str(found.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1, 2, 7, 10, 49])
def test_cap_allows_as_many_steps_as_fit(kind: SamplerKind, limit: int) -> None:
    full = SamplingConfig(sampler=kind, num_steps=50, clip=False)
    found = capped(full, 50, limit)
    assert num_evaluations(found, 50) <= limit and not found.clip
    assert found.sampler == ("ddim" if kind == "ancestral" else kind)
    more = dataclasses.replace(found, num_steps=found.num_steps + 1)
    assert num_evaluations(more, 50) > limit
    assert capped(full, 50, None) == full

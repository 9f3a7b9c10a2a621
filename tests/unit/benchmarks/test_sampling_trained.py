"""The tables of trained checkpoints, from FIDs that are given."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks.sampling_trained import (
    FRESH_SEED,
    GUIDED,
    GUIDED_BY,
    OMEGAS,
    STANDARD,
    Scorer,
    evaluation_rows,
    guidance_rows,
)
from diffrop.engine.guidance_sweep import SweptCheckpoint
from diffrop.metrics import Estimate
from diffrop.recipes import recipe

WIDTH = 0.01


class Given(Scorer):
    """Scores by a function of sampler, omega and the noise's seed."""

    fids: Any

    def score(self, sampler: str, omega: float) -> Estimate:
        seed = self.swept.config.evaluation.seed
        fid = self.fids(sampler, omega, seed)
        spread = torch.randn(self.num_samples, generator=torch.Generator().manual_seed(0))
        scale = WIDTH * self.num_samples**0.5 * (sampler != STANDARD)
        return Estimate(fid, scale * spread)


def given(fids: Any) -> Given:
    parts: Any = {}, {}, None, []
    config = recipe("digits").experiment
    swept = SweptCheckpoint("made", 128, config, *parts)
    inputs: Any = SimpleNamespace(dataset=SimpleNamespace(num_classes=10))
    Given.fids = staticmethod(fids)
    return Given("made", swept, inputs, 200, Path("unused"))


@pytest.mark.parametrize(
    ("excess", "ddim", "least", "reached"),
    [
        ({"dpmpp-8": 0.0, "heun-8": -0.5}, 20.0, 8, True),
        ({"heun-8": 0.0}, 20.0, 15, True),
        ({"heun-8": 0.195}, 20.0, None, False),  # near, and not surely
        ({"dpmpp-8": 0.0}, 10.0, 8, False),  # DDIM is as good at eight
        ({}, 20.0, None, False),
    ],
)
def test_fewest_evaluations_are_those_surely_near_ddim_50(
    excess: dict[str, float], ddim: float, least: int | None, reached: bool
) -> None:
    def fids(sampler: str, omega: float, seed: int) -> float:
        if sampler == STANDARD:
            return 10.0
        return ddim if sampler.startswith("ddim") else 10 + excess.get(sampler, 5.0)

    *_, last = evaluation_rows(given(fids), 0.0)
    assert (last.plain, last.ours, last.reached) == (50, least, reached)


def test_each_guidance_is_compared_at_the_omega_of_other_noise() -> None:
    def fids(sampler: str, omega: float, seed: int) -> float:
        if seed == FRESH_SEED:  # where the largest omega would be chosen
            return 10 - omega - 0.1 * len(sampler)
        return 10 + abs(omega - OMEGAS[len(sampler) % len(OMEGAS)])

    rows = list(guidance_rows(given(fids)))
    assert len(rows) == len(GUIDED) + 1 and " unguided at omega 0," in rows[0].what
    plain = 10 - OMEGAS[len(GUIDED_BY) % len(OMEGAS)] - 0.1 * len(GUIDED_BY)
    for ending, row in zip(GUIDED, rows[1:], strict=True):
        sampler = f"{GUIDED_BY}{ending}"
        omega = OMEGAS[len(sampler) % len(OMEGAS)]
        assert f": {sampler} at omega {omega:g}," in row.what
        assert row.plain == plain and row.ours == 10 - omega - 0.1 * len(sampler)

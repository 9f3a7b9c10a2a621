"""The cheapest sampling choice that is surely almost as good as the best."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from diffrop.config import SamplingConfig
from diffrop.constraints import parse_constraints
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.metrics.protocol import Protocol
from diffrop.metrics.report import ShotReport
from diffrop.record.score_card import CurvePoint, read_score, write_score
from diffrop.scoring.cost_preference import prefer_cheap
from diffrop.scoring.sampling_search import Found
from diffrop.scoring.score import score_model, scored_alike
from diffrop.study.objectives import Goal
from diffrop.study.rung import Rung
from diffrop.study.sampling_choice import SamplingChoice, fixed_choice
from tests.made.denoiser import Denoiser
from tests.made.small import small_experiment, small_inputs

CPU, FULL, MARGIN = torch.device("cpu"), 1_000, 0.02
FIDS = {2: 60.0, 3: 60.0, 4: 41.0, 5: 60.0, 6: 60.0, 7: 60.0, 8: 40.3, 16: 40.0}
"""By the steps of the choice."""
CHOICES = {
    steps: SamplingChoice(1.0, SamplingConfig(num_steps=steps), 2 * steps) for steps in FIDS
}


def point(steps: int, num_samples: int, value: float) -> CurvePoint:
    choice = CHOICES[steps]
    return CurvePoint(
        omega=choice.omega,
        sampler=choice.sampler,
        num_samples=num_samples,
        scores={"fid/all": value},
        evaluations=choice.evaluations,
    )


class Reports:
    """The FIDs of the choices, of which each pair differs by samples with a known spread."""

    def __init__(self, spread: float, few: Mapping[int, float] | None = None) -> None:
        self.spread, self.few = spread, few or {}
        self.asked: list[int] = []
        shared = torch.Generator().manual_seed(0)
        self.shared = 100 * torch.randn(FULL, generator=shared, dtype=torch.float64)

    def __call__(self, choice: SamplingChoice) -> ShotReport:
        steps = choice.sampling.num_steps
        self.asked.append(steps)
        rng = torch.Generator().manual_seed(steps)
        own = torch.randn(FULL, generator=rng, dtype=torch.float64)
        own = self.spread / 2**0.5 * (own - own.mean()) / own.std()
        scores = {"fid/all": FIDS[steps], "fid/few": self.few.get(steps, 50.0)}
        influence = dict.fromkeys(scores, self.shared + own)
        labels = dict.fromkeys(("all", "few"), torch.zeros(FULL, dtype=torch.int64))
        protocol = Protocol("pixels", choice.sampler, "train", FULL)
        return ShotReport(protocol, scores, {}, {}, {}, {}, influence, labels)


def searched(early: Mapping[int, float] = FIDS) -> Found:
    """All choices on 100 samples, where FIDs are larger, and the best on the full N."""
    curve = [point(steps, 100, 1.5 * value) for steps, value in early.items()]
    return Found(CHOICES[16], [*curve, point(16, FULL, FIDS[16])])


def preferred(reports: Reports, found: Found | None = None, *constraints: str):
    goal = Goal(("fid/all",), parse_constraints(constraints), FULL)
    return prefer_cheap(list(CHOICES.values()), found or searched(), goal, MARGIN, reports, CPU)


def test_cheapest_choice_that_is_surely_within_the_margin_is_taken() -> None:
    reports = Reports(spread=5.0)  # a difference is known to +- 2 * 5 / sqrt(1,000) = 0.3
    found, why = preferred(reports)
    assert found.best is CHOICES[8]
    assert reports.asked == [16, 4, 8]  # 2 looked much worse on few samples
    full = [p.sampler for p in found.curve if p.num_samples == FULL]
    assert full == ["ddim-16", "ddim-4", "ddim-8"]
    assert (why.omega, why.sampler, why.evaluations) == (1.0, "ddim-16", 32)
    difference = why.differences["fid/all"]
    assert difference.value == pytest.approx(0.3) and difference.high < MARGIN * 40
    assert difference.standard_error == pytest.approx(5 / FULL**0.5, rel=0.15)
    assert why.reason.startswith(
        "16 evaluations an image in place of 32 (ddim-16 at omega 1) change fid/all +0.7% [-0.0%, "
    )


def test_best_stays_where_no_interval_is_narrow_enough() -> None:
    reports = Reports(spread=20.0)
    found, why = preferred(reports)
    assert found.best is CHOICES[16] and reports.asked == [16, 4, 8] and not why.differences
    expected = "no cheaper choice is surely within 2.0% of it; drawn in full: ddim-4 at omega 1, "
    assert why.reason == f"{expected}ddim-8 at omega 1"


def test_best_stays_where_the_cheaper_choice_breaks_a_constraint_that_it_keeps() -> None:
    few = {8: 55.0}
    assert preferred(Reports(5.0, few), None, "fid/few <= 52")[0].best is CHOICES[16]
    assert preferred(Reports(5.0, few), None, "fid/few <= 60")[0].best is CHOICES[8]
    # Neither keeps it, and the cheaper one breaks it no more.
    assert preferred(Reports(5.0, {8: 49.0}), None, "fid/few <= 40")[0].best is CHOICES[8]


def test_one_candidate_is_drawn_for_each_cost() -> None:
    twin = SamplingChoice(2.0, SamplingConfig(num_steps=8), 16)
    curve = [*searched().curve]
    curve.append(
        CurvePoint(
            omega=2.0,
            sampler="ddim-8",
            num_samples=100,
            scores={"fid/all": 1.5 * 40.9},
            evaluations=16,
        )
    )
    reports = Reports(spread=5.0)
    goal = Goal(("fid/all",), (), FULL)
    choices = [twin, *CHOICES.values()]
    found, _ = prefer_cheap(choices, Found(CHOICES[16], curve), goal, MARGIN, reports, CPU)
    assert found.best is CHOICES[8] and reports.asked == [16, 4, 8]


def test_of_many_costs_the_four_that_looked_best_are_drawn_the_cheapest_first() -> None:
    early = {3: 41.5, 4: 41.4, 5: 41.3, 6: 41.2, 7: 41.1, 8: 40.2, 16: 40.0}  # all within 4 %
    reports = Reports(spread=5.0)
    assert preferred(reports, searched(early))[0].best is CHOICES[8]
    assert reports.asked == [16, 5, 6, 7, 8]  # the four cheapest would all have failed


def test_checkpoint_is_scored_at_the_cheaper_choice_and_its_card_says_why(tmp_path: Path) -> None:
    inputs = small_inputs()
    changes: dict[str, object] = {
        "evaluation__samplers": ["ddim-1", "ddim-3", "ddim-9"],
        "evaluation__guidance_scales": [0.0],
        "evaluation__metrics": ["fid"],
    }
    rung = Rung(images=128, num_samples=200, num_steps=None, final=True)

    def scored(config):
        schedule = NoiseSchedule.linear(config.diffusion)
        return score_model({None: Denoiser()}, schedule, config, inputs, rung, 128)

    plain = small_experiment(**changes)
    best = scored(plain).card
    cheap = small_experiment(**changes, evaluation__prefer_cheap=0.9)
    found = scored(cheap)
    card, why = found.card, found.card.preference
    assert best.preference is None and why is not None
    assert (why.sampler, why.evaluations) == (best.sampler, best.evaluations) == ("ddim-9", 9)
    assert card.evaluations in (1, 3) and why.differences["fid/all"].high <= 0.9 * best.value
    write_score(tmp_path / "images_000000000128.json", card)
    assert read_score(tmp_path / "images_000000000128.json") == card
    assert scored_alike(card, cheap, inputs, rung) and not scored_alike(card, plain, inputs, rung)
    alone = scored(fixed_choice(cheap, card.omega, card.sampler))
    assert alone.card.scores == pytest.approx(card.scores, rel=1e-6)
    assert alone.influence["fid/all"].allclose(found.influence["fid/all"], rtol=1e-3, atol=1e-2)

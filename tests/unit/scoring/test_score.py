import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrop.config import ExperimentConfig
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.metrics.features import FeatureExtractor
from diffrop.record.score_card import ScoreCard
from diffrop.scoring.samples import ScoringInputs, draw_samples
from diffrop.scoring.score import Scored, check_scorable, sampler_name, score_model, scored_alike
from diffrop.study.objectives import BaselineScores
from diffrop.study.rung import Rung
from tests.made.small import RowBrightness, small_experiment, small_inputs

CPU = torch.device("cpu")
LAST = Rung(images=128, num_samples=40, num_steps=None, final=True)
EARLY = Rung(images=64, num_samples=40, num_steps=None, final=False)
FOUR = {
    "evaluation__guidance_scales": [0.0, 0.5, 1.0, 2.0],
    "evaluation__metrics": ["fid"],
}


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


class Denoiser(torch.nn.Module):
    """Noise by formula, another one for each label, best at an omega of about 1."""

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        self.scale, self.sizes = scale, list[int]()

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.sizes.append(len(x_t))
        return self.scale * x_t + 0.01 * labels.view(-1, 1, 1, 1)


def scored(
    config: ExperimentConfig,
    inputs: ScoringInputs,
    rung: Rung = LAST,
    baseline: BaselineScores | None = None,
    **averages: torch.nn.Module,
) -> Scored:
    schedule = NoiseSchedule.linear(config.diffusion)
    models = {None: Denoiser(), **{float(key): net for key, net in averages.items()}}
    return score_model(models, schedule, config, inputs, rung, 128, baseline)


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


def test_one_omega_serves_all_columns_and_the_curve_is_kept(inputs: ScoringInputs) -> None:
    card = scored(small_experiment(evaluation__omega_search="grid"), inputs).card
    assert [row["omega"] for row in card.curve] == [0.0, 1.0]
    least = min(card.curve, key=lambda row: row["scores"]["fid/all"])
    assert card.omega == least["omega"]
    assert card.scores == least["scores"]
    assert (card.objective, card.value) == ("fid/all", least["scores"]["fid/all"])
    assert card.num_samples == {"all": 40, "many": 12, "medium": 12, "few": 12}
    assert (card.sampler, card.extractor) == ("ddim-2", "pixels")
    assert (card.points, card.samples_drawn) == (card.curve, 80)
    assert card.seconds.keys() == {"sampling", "features", "metrics"}


def test_halving_draws_two_fifths_of_the_grid_and_scores_the_same_images(
    inputs: ScoringInputs,
) -> None:
    rung = dataclasses.replace(LAST, num_samples=300)
    grid, halved = (
        scored(
            small_experiment(evaluation__omega_search=method, **FOUR),
            inputs,
            rung,
        )
        for method in ("grid", "halving")
    )
    assert (grid.card.samples_drawn, halved.card.samples_drawn) == (1200, 450)
    assert halved.card.value == pytest.approx(grid.card.value, rel=1e-6)
    assert [row["num_samples"] for row in halved.card.curve] == [30] * 4 + [90] * 2 + [300]
    assert list(halved.card.scores_by_num_samples) == [30, 90, 300]
    assert len(halved.card.points) == 1 and halved.card.num_samples["all"] == 300
    assert halved.images.shape == grid.images.shape == (100, 1, 8, 8)
    omegas = [halved.card.omega]
    only = small_experiment(evaluation__guidance_scales=omegas, evaluation__metrics=["fid"])
    alone = scored(only, inputs, rung)
    assert alone.images.equal(halved.images)
    assert alone.card.scores == pytest.approx(halved.card.scores, rel=1e-6)
    assert alone.influence["fid/few"].allclose(halved.influence["fid/few"], rtol=1e-3, atol=1e-2)


def test_each_image_is_drawn_and_looked_at_once(inputs: ScoringInputs) -> None:
    looked: list[int] = []

    class Spy(RowBrightness):
        def forward(self, images: Tensor) -> Tensor:
            looked.append(len(images))
            return super().forward(images)

    config = small_experiment(**FOUR)
    spied = dataclasses.replace(inputs, extractor=FeatureExtractor(Spy(), "pixels"))
    model, rung = Denoiser(), dataclasses.replace(LAST, num_samples=200)
    schedule = NoiseSchedule.linear(config.diffusion)
    card = score_model({None: model}, schedule, config, spied, rung, 128).card
    assert sum(looked) == card.samples_drawn == 300
    in_order = [{row["omega"]: row["num_samples"]} for row in card.curve]
    drawn = {omega: n for row in in_order for omega, n in row.items()}  # the last one counts
    evaluations = sum(n * (1 if omega == 0 else 2) for omega, n in drawn.items())
    assert sum(model.sizes) == 2 * evaluations  # two steps; guidance has two branches


def test_sampler_and_average_are_chosen_with_omega(inputs: ScoringInputs) -> None:
    config = small_experiment(
        training__ema_lengths=[0.1],
        evaluation__ema_lengths=[None, 0.1],
        evaluation__samplers=["ddim-1", "ddim-3"],
        **FOUR,
    )
    rung = dataclasses.replace(LAST, num_samples=200)
    card = scored(config, inputs, rung, **{"0.1": Denoiser(0.0)}).card
    first = card.curve[0]["num_samples"]
    least = min(
        (row for row in card.curve if row["num_samples"] == first),
        key=lambda row: row["scores"]["fid/all"],
    )
    assert card.sampler == least["sampler"]
    assert card.samples_drawn <= 0.4 * 200 * 16
    names = "ddim-1 or ddim-1-ema-0.1 or ddim-3 or ddim-3-ema-0.1"
    assert card.protocol.sampler == names == sampler_name(config).replace(", ", " or ")


def test_steps_of_a_rung_are_capped_and_stand_in_the_name(inputs: ScoringInputs) -> None:
    config = small_experiment(sampling__num_steps=8)
    card = scored(config, inputs, dataclasses.replace(EARLY, num_steps=3)).card
    assert card.sampler == "ddim-3"


def test_constraints_bound_the_choice(inputs: ScoringInputs) -> None:
    changes = {"evaluation__omega_search": "grid", **FOUR}
    free = scored(small_experiment(**changes), inputs).card
    by_few = sorted(free.curve, key=lambda row: row["scores"]["fid/few"])
    text = "fid/few <= baseline + 0.001"
    bound = small_experiment(
        evaluation__constraints=[text], evaluation__objectives=["fid/many"], **changes
    )
    known = {40: by_few[0]["scores"]}
    card = scored(bound, inputs, baseline=known).card
    assert card.omega == by_few[0]["omega"] and card.asked["bounds"][text] > 0
    assert scored(bound, inputs).card.asked["bounds"] == {text: None}  # baseline unknown


def test_several_objectives_have_a_value_each(inputs: ScoringInputs) -> None:
    config = small_experiment(evaluation__objectives=["fid/few", "fid/all"])
    card = scored(config, inputs).card
    assert card.values == [card.scores["fid/few"], card.scores["fid/all"]]
    assert (card.objective, card.value) == ("fid/few", card.values[0])


def test_only_the_final_score_has_all_metrics_and_what_differences_need(
    inputs: ScoringInputs,
) -> None:
    config = small_experiment(evaluation__metrics=["fid", "kid"])
    final, early = (scored(config, inputs, rung) for rung in (LAST, EARLY))
    assert "kid/few" in final.card.scores and "kid/few" not in early.card.scores
    assert final.card.intervals["fid/all"]["low"] < final.card.value
    assert not early.card.intervals and not early.influence
    assert final.influence["fid/few"].shape == final.influence["labels/few"].shape == (12,)
    assert final.card.value == pytest.approx(early.card.value, rel=1e-6)


def test_stored_card_is_taken_only_for_what_it_was_asked(inputs: ScoringInputs) -> None:
    config = small_experiment(evaluation__constraints=["fid/few <= baseline"])
    stored = json.loads(json.dumps(scored(config, inputs).card.to_dict()))
    card = ScoreCard.from_dict(stored)
    assert scored_alike(card, config, inputs, LAST)
    assert not scored_alike(card, config, inputs, EARLY)
    assert not scored_alike(card, config, inputs, dataclasses.replace(LAST, num_samples=60))
    assert not scored_alike(card, config, inputs, LAST, {40: {"fid/few": 3.0}})
    for changes in (
        {"evaluation.guidance_scales": [0.0, 1.0, 2.0]},
        {"evaluation.omega_search": "grid"},
        {"evaluation.samplers": ["ddim-3"]},
        {"evaluation.constraints": []},
        {"evaluation.objectives": ["fid/few"]},
        {"evaluation.seed": 1},
        {"evaluation.metrics": ["fid"]},
    ):
        assert not scored_alike(card, config.with_values(changes), inputs, LAST)
    other = dataclasses.replace(inputs, extractor=FeatureExtractor(RowBrightness(), "other"))
    assert not scored_alike(card, config, other, LAST)


def test_cards_of_another_version_are_refused_in_one_sentence(inputs: ScoringInputs) -> None:
    stored = scored(small_experiment(), inputs).card.to_dict()
    stored["objective"] = stored.pop("objectives")[0]
    with pytest.raises(ValueError, match=r"another version \(objective, objectives\); allowed:"):
        ScoreCard.from_dict(stored)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation__constraints": ["fid/none <= 3"]}, "score is 'fid/none'; allowed: fid/all"),
        ({"evaluation__constraints": ["few good"]}, "constraint is 'few good'; allowed:"),
        ({"evaluation__samplers": ["ddim-2000"]}, "evaluation.samplers is 'ddim-2000'"),
        ({"evaluation__ema_lengths": [0.2]}, "evaluation.ema_lengths is 0.2"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_starts(
    inputs: ScoringInputs, changes: dict[str, object], message: str
) -> None:
    check_scorable(small_experiment(), inputs.dataset, [40])
    with pytest.raises(ValueError, match=message):
        check_scorable(small_experiment(**changes), inputs.dataset, [40])
    with pytest.raises(ValueError, match="19 samples are too few"):
        check_scorable(small_experiment(), inputs.dataset, [40, 19])


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


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_even_a_part_of_one_chunk(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = draw(15, start=2), []
    reduced: Callable[[Tensor], None] = lambda images: None  # noqa: E731
    monkeypatch.setattr("diffrop.scoring.samples.dist.all_reduce", reduced)
    monkeypatch.setattr("diffrop.distributed.world_size", lambda: workers)
    for rank in range(workers):
        monkeypatch.setattr("diffrop.distributed.rank", lambda rank=rank: rank)
        parts.append(draw(15, start=2))
    assert torch.equal(sum(part.int() for part in parts), whole.int())
    shares = [int((part.flatten(1) != 0).any(dim=1).sum()) for part in parts]
    assert max(shares) - min(shares) <= 1

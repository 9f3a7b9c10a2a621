import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffrop.config import ExperimentConfig
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.errors import StopRequested
from diffrop.metrics.features import FeatureExtractor
from diffrop.record.score_card import read_score, write_score
from diffrop.scoring.samples import ScoringInputs
from diffrop.scoring.score import Scored, check_scorable, sampler_name, score_model, scored_alike
from diffrop.study.objectives import BaselineScores
from diffrop.study.rung import Rung
from diffrop.training.joint_stop import JointStop
from diffrop.training.stop import StopNotice
from tests.made.denoiser import Denoiser
from tests.made.small import RowBrightness, small_experiment, small_inputs

LAST = Rung(images=128, num_samples=40, num_steps=None, final=True)
EARLY = Rung(images=64, num_samples=40, num_steps=None, final=False)
FOUR = {
    "evaluation__guidance_scales": [0.0, 0.5, 1.0, 2.0],
    "evaluation__metrics": ["fid"],
}


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


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


def test_error_of_a_reconstructed_average_stays_with_its_score(
    inputs: ScoringInputs, tmp_path: Path
) -> None:
    changes = {"training__ema_lengths": [0.05], "evaluation__ema_lengths": [0.05]}
    config = small_experiment(**changes, evaluation__guidance_scales=[0.0])
    schedule, found = NoiseSchedule.linear(config.diffusion), []
    for errors in ({}, {0.05: 0.01, 0.1: 0.02}):
        networks = {0.05: Denoiser()}
        scored = score_model(networks, schedule, config, inputs, EARLY, 64, average_errors=errors)
        found.append(scored.card.average_error)
    assert found == [None, 0.01]
    path = tmp_path / "images_000000000064.json"
    write_score(path, scored.card)
    assert read_score(path).average_error == 0.01


def test_one_omega_serves_all_columns_and_the_curve_is_kept(inputs: ScoringInputs) -> None:
    card = scored(small_experiment(evaluation__omega_search="grid"), inputs).card
    assert [point.omega for point in card.curve] == [0.0, 1.0]
    least = min(card.curve, key=lambda point: point.scores["fid/all"])
    assert card.omega == least.omega
    assert card.scores == least.scores
    assert (card.objective, card.value) == ("fid/all", least.scores["fid/all"])
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
    assert (grid.card.samples_drawn, halved.card.samples_drawn) == (1200, 400)
    assert halved.card.value == pytest.approx(grid.card.value, rel=1e-6)
    assert [point.num_samples for point in halved.card.curve] == [20] * 4 + [60] * 2 + [300]
    assert list(halved.card.scores_by_num_samples) == [20, 60, 300]
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
    drawn = {point.omega: point.num_samples for point in card.curve}  # the last one counts
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
    first = card.curve[0].num_samples
    among = [point for point in card.curve if point.num_samples == first]
    least = min(among, key=lambda point: (point.at_full or point.scores)["fid/all"])
    assert card.sampler == least.sampler
    assert card.samples_drawn <= 3 * 200
    names = "ddim-1 or ddim-1-ema-0.1 or ddim-3 or ddim-3-ema-0.1"
    assert card.protocol.sampler == names == sampler_name(config).replace(", ", " or ")


def test_interval_of_guidance_is_chosen_and_kept_in_the_files(
    inputs: ScoringInputs, tmp_path: Path
) -> None:
    config = small_experiment(
        evaluation__guidance_intervals=[[0, 1], [0.5, 1]],
        evaluation__guidance_scales=[0.0, 3.0],
        evaluation__omega_search="grid",
        sampling__num_steps=4,
    )
    model, schedule = Denoiser(), NoiseSchedule.linear(config.diffusion)
    card = score_model({None: model}, schedule, config, inputs, LAST, 128).card
    assert [(point.omega, point.sampler, point.evaluations) for point in card.curve] == [
        (0, "ddim-4", 4),
        (3, "ddim-4", 8),
        (3, "ddim-4-guided-0.5-1", 6),
    ]
    assert sum(model.sizes) == card.samples_drawn / 3 * (4 + 8 + 6)
    least = min(card.curve, key=lambda point: point.scores["fid/all"])
    assert (card.omega, card.sampler, card.evaluations) == (
        least.omega,
        least.sampler,
        least.evaluations,
    )
    assert len({point.scores["fid/all"] for point in card.curve}) == 3
    write_score(tmp_path / "score.json", card)
    assert read_score(tmp_path / "score.json") == card
    assert scored_alike(card, config, inputs, LAST)
    fewer = config.with_values({"evaluation.guidance_intervals": [[0, 1]]})
    assert not scored_alike(card, fewer, inputs, LAST)


def test_steps_of_a_rung_are_capped_and_stand_in_the_name(inputs: ScoringInputs) -> None:
    config = small_experiment(sampling__num_steps=8)
    card = scored(config, inputs, dataclasses.replace(EARLY, num_steps=3)).card
    assert card.sampler == "ddim-3"


def test_constraints_bound_the_choice(inputs: ScoringInputs) -> None:
    changes = {"evaluation__omega_search": "grid", **FOUR}
    free = scored(small_experiment(**changes), inputs).card
    by_few = sorted(free.curve, key=lambda point: point.scores["fid/few"])
    text = "fid/few <= baseline + 0.001"
    bound = small_experiment(
        evaluation__constraints=[text], evaluation__objectives=["fid/many"], **changes
    )
    known = {40: by_few[0].scores}
    card = scored(bound, inputs, baseline=known).card
    assert card.omega == by_few[0].omega and card.asked["bounds"][text] > 0
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
    assert final.card.intervals["fid/all"].low < final.card.value
    assert not early.card.intervals and not early.influence
    assert final.influence["fid/few"].shape == final.influence["labels/few"].shape == (12,)
    assert final.card.value == pytest.approx(early.card.value, rel=1e-6)


def test_stored_card_is_taken_only_for_what_it_was_asked(
    inputs: ScoringInputs, tmp_path: Path
) -> None:
    config = small_experiment(evaluation__constraints=["fid/few <= baseline"])
    write_score(tmp_path / "images.json", scored(config, inputs).card)
    card = read_score(tmp_path / "images.json")
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluation__constraints": ["fid/none <= 3"]}, "score is 'fid/none'; allowed: fid/all"),
        ({"evaluation__constraints": ["few good"]}, "constraints is 'few good'; allowed:"),
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


class Looks(StopNotice):
    """Counts the looks, and lets a request be found at one of them."""

    def __init__(self, found_at: int | None = None) -> None:
        self.count, self.found_at = 0, found_at

    def requested(self) -> bool:
        """Return whether to stop."""
        self.count += 1
        return self.count == self.found_at


def test_score_can_be_given_up_at_every_step_batch_and_metric(inputs: ScoringInputs) -> None:
    config = small_experiment(evaluation__metrics=["fid", "kid"], sampling__num_steps=3)
    schedule, model = NoiseSchedule.linear(config.diffusion), Denoiser()

    def run(notice: StopNotice) -> Scored:
        stop = JointStop(notice)
        return score_model({None: model}, schedule, config, inputs, LAST, 128, None, stop)

    looks = Looks()
    undisturbed = run(looks).card
    # Two omegas: two chunks of 20 images by three steps, and a batch of features.
    assert looks.count > 2 * (2 * 3 + 1)
    for found_at in range(1, looks.count + 1):
        with pytest.raises(StopRequested):
            run(Looks(found_at))
    again = run(Looks()).card
    assert (again.scores, again.curve) == (undisturbed.scores, undisturbed.curve)

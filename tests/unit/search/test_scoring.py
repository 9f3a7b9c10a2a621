import pytest
import torch

from diffrop.config import EvaluationConfig
from diffrop.diffusion.schedule import NoiseSchedule
from diffrop.search.scoring import ScoringInputs, best_row, draw_samples, score_model
from tests.small import small_experiment, small_inputs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inputs() -> ScoringInputs:
    return small_inputs()


def denoiser(x_t: torch.Tensor, t: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return 0.3 * x_t + 0.01 * labels.view(-1, 1, 1, 1)


def curve(*values: tuple[float, float]) -> list[dict[str, object]]:
    return [{"omega": omega, "scores": {"fid/all": value}} for omega, value in values]


def test_best_omega_is_the_least_objective_and_the_smaller_of_equals() -> None:
    evaluation = EvaluationConfig()
    assert best_row(curve((2.0, 5.0), (0.5, 4.0), (0.0, 4.0)), evaluation) == 2
    with pytest.raises(ValueError, match=r"objective is fid/few.*allowed: fid/all"):
        best_row(curve((0.0, 1.0)), EvaluationConfig(objectives=("fid/few",)))


def test_one_omega_serves_all_columns_and_the_curve_is_kept(inputs: ScoringInputs) -> None:
    config = small_experiment()
    schedule = NoiseSchedule.linear(config.diffusion)
    model = torch.nn.Identity()
    model.forward = denoiser  # type: ignore[method-assign, assignment]
    scored = score_model(model, schedule, config, inputs, 40, 128, final=True)
    card = scored.card
    assert [row["omega"] for row in card.curve] == [0.0, 1.0]
    least = min(card.curve, key=lambda row: row["scores"]["fid/all"])
    assert card.omega == least["omega"]
    assert card.scores == least["scores"]
    assert card.value == least["scores"]["fid/all"]
    assert card.num_samples == {"all": 40, "many": 12, "medium": 12, "few": 12}
    assert (card.sampler, card.extractor) == ("ddim-2", "pixels")
    assert scored.images.shape == (40, 1, 8, 8)


def test_only_the_final_score_has_all_metrics_and_what_differences_need(
    inputs: ScoringInputs,
) -> None:
    config = small_experiment(evaluation__metrics=["fid", "kid"])
    schedule = NoiseSchedule.linear(config.diffusion)
    model = torch.nn.Identity()
    model.forward = denoiser  # type: ignore[method-assign, assignment]
    final, early = (
        score_model(model, schedule, config, inputs, 40, 128, final=last) for last in (True, False)
    )
    assert "kid/few" in final.card.scores and "kid/few" not in early.card.scores
    assert final.card.intervals["fid/all"]["low"] < final.card.value
    assert not early.card.intervals and not early.influence
    assert final.influence["fid/few"].shape == final.influence["labels/few"].shape == (12,)
    assert final.card.value == early.card.value


def test_noise_does_not_depend_on_omega_and_smaller_counts_are_prefixes() -> None:
    config = small_experiment()
    schedule = NoiseSchedule.linear(config.diffusion)

    def draw(count: int, omega: float) -> torch.Tensor:
        labels = torch.zeros(count, dtype=torch.int64)
        return draw_samples(
            denoiser,  # type: ignore[arg-type]
            schedule, config.sampling, (1, 8, 8), labels, omega, 10, seed=1,
        )  # fmt: skip

    assert torch.equal(draw(40, 0.0)[:20], draw(20, 0.0))
    noise = [image.float().flatten() for image in (draw(20, 0.0), draw(20, 0.1))]
    assert torch.corrcoef(torch.stack(noise))[0, 1] > 0.9

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from diffrop.config import ContrastiveConfig, DiffusionConfig, ObjectiveConfig
from diffrop.diffusion.cbdm import cbdm_regulariser, draw_other_labels, other_label_probabilities
from diffrop.diffusion.objective import Draws, Losses, Objective, class_weights, draw
from diffrop.diffusion.schedule import NoiseSchedule

COUNTS = [60, 30, 10]
NULL = 3
SHAPE = (16, 1, 4, 4)
DIFFUSION = DiffusionConfig(num_timesteps=20, beta_end=0.3, label_dropout=0.2)
CBDM = ObjectiveConfig(loss="cbdm", cbdm_tau=0.7)


class LabelledDenoiser(nn.Module):
    """Affine in x_t, with an embedding of the label; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.scale = nn.Parameter(torch.randn((), generator=generator))
        self.label = nn.Parameter(torch.randn(NULL + 1, 16, generator=generator))
        self.num_calls = 0

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.num_calls += 1
        return self.scale * x_t + self.label[labels].view(-1, 1, 4, 4)


def batch() -> tuple[Tensor, Tensor, Draws]:
    generator = torch.Generator().manual_seed(1)
    x_0 = torch.rand(SHAPE, generator=generator) * 2 - 1
    labels = torch.randint(NULL, (16,), generator=generator)
    draws = draw(DIFFUSION, SHAPE, generator)
    others = draw_other_labels(other_label_probabilities(CBDM, COUNTS), 16, generator)
    assert draws.dropped.any() and (others != labels).any()
    return x_0, labels, Draws(draws.t, draws.eps, draws.dropped, others)


def run(config: ObjectiveConfig, form: str, model: nn.Module, draws: Draws) -> Losses:
    x_0, labels, _ = batch()
    schedule = NoiseSchedule.linear(DIFFUSION)
    pcl = ContrastiveConfig(form=form, space="x0")  # type: ignore[arg-type]
    objective = Objective(DIFFUSION, pcl, schedule, torch.tensor(COUNTS), config)
    return objective(model, x_0, labels, draws, 0)


def gradients(loss: Tensor, model: LabelledDenoiser) -> tuple[Tensor, Tensor]:
    scale, label = torch.autograd.grad(
        loss, [model.scale, model.label], retain_graph=True, materialize_grads=True
    )
    return scale, label


def test_regulariser_equals_the_published_sum_image_by_image() -> None:
    generator = torch.Generator().manual_seed(3)
    h, h_bal = torch.randn((2, 4, 1, 2, 2), generator=generator, dtype=torch.float64).float()
    time, dropped = torch.tensor([0.0, 0.25, 0.5, 0.95]), torch.tensor([0, 0, 1, 0]).bool()
    expected = 0.0
    for image in (1, 3):  # t = 0 weighs nothing, and a dropped label has no branch of its own
        squares = ((h[image] - h_bal[image]) ** 2).sum().item() / 4
        expected += time[image].item() * 0.7 * (squares + squares / 4) / 4
    found = cbdm_regulariser(CBDM, h, h_bal, time, dropped)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_each_term_moves_its_own_branch_alone() -> None:
    generator = torch.Generator().manual_seed(4)
    h, h_bal = torch.randn((2, 4, 1, 2, 2), generator=generator)
    h, h_bal = h.requires_grad_(), h_bal.requires_grad_()
    time, kept = torch.full((4,), 0.5), torch.zeros(4, dtype=torch.bool)
    cbdm_regulariser(CBDM, h, h_bal, time, kept).backward()
    difference = (h - h_bal).detach()
    own = 2 * 0.5 * 0.7 * difference / 16  # d/dh of the mean of w || h - sg h_bal ||^2
    torch.testing.assert_close(h.grad, own)
    torch.testing.assert_close(h_bal.grad, -own / 4)


def test_objective_adds_the_regulariser_to_the_plain_losses() -> None:
    model, plain_model = LabelledDenoiser(), LabelledDenoiser()
    _, labels, draws = batch()
    losses = run(CBDM, "reciprocal", model, draws)
    plain = run(ObjectiveConfig(), "reciprocal", plain_model, Draws(*_plain(draws)))
    assert model.num_calls == 1  # both branches are one batch
    assert losses.cbdm is not None and losses.contrastive and plain.contrastive
    torch.testing.assert_close(losses.ddpm, plain.ddpm)
    torch.testing.assert_close(losses.contrastive.loss, plain.contrastive.loss)
    torch.testing.assert_close(losses.total, losses.ddpm + losses.cbdm + losses.contrastive.loss)
    own = labels.masked_fill(draws.dropped, NULL)
    assert draws.other_labels is not None
    h, h_bal = model.label[own].view(SHAPE), model.label[draws.other_labels].view(SHAPE)
    expected = cbdm_regulariser(CBDM, h, h_bal, draws.t / 20, draws.dropped)
    torch.testing.assert_close(losses.cbdm, expected)


def test_contrastive_gradient_does_not_reach_the_other_branch() -> None:
    model, plain_model = LabelledDenoiser(), LabelledDenoiser()
    _, _, draws = batch()
    with_cbdm = run(CBDM, "reciprocal", model, draws).contrastive
    alone = run(ObjectiveConfig(), "reciprocal", plain_model, Draws(*_plain(draws))).contrastive
    assert with_cbdm is not None and alone is not None
    for found, expected in zip(
        gradients(with_cbdm.loss, model), gradients(alone.loss, plain_model), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("labels", "mass"), [("long_tailed", [0.6, 0.3, 0.1]), ("uniform", [1 / 3] * 3)]
)
def test_other_labels_follow_their_distribution(labels: str, mass: list[float]) -> None:
    config = ObjectiveConfig(loss="cbdm", cbdm_labels=labels)  # type: ignore[arg-type]
    probabilities = other_label_probabilities(config, COUNTS)
    drawn = draw_other_labels(probabilities, 6000, torch.Generator().manual_seed(0))
    expected = 6000 * torch.tensor(mass, dtype=torch.float64)
    assert stats.chisquare(drawn.bincount(minlength=3), expected).pvalue > 0.001


def test_class_weights_are_inverse_counts_with_mean_1_over_images() -> None:
    weights = class_weights(torch.tensor([60, 0, 30, 10]))
    torch.testing.assert_close(
        weights * torch.tensor([60, 0, 30, 10]), torch.tensor([100 / 3, 0, 100 / 3, 100 / 3])
    )
    images = torch.tensor([0] * 60 + [2] * 30 + [3] * 10)
    assert weights[images].mean().item() == pytest.approx(1, rel=1e-6)


def test_reweighted_regression_is_the_weighted_mean_over_images() -> None:
    config, model = ObjectiveConfig(class_weights="inverse"), LabelledDenoiser()
    x_0, labels, draws = batch()
    found = run(config, "none", model, Draws(*_plain(draws))).ddpm
    x_t = NoiseSchedule.linear(DIFFUSION).q_sample(x_0, draws.t, draws.eps)
    predicted = model(x_t, draws.t, labels.masked_fill(draws.dropped, NULL))
    expected = 0.0
    for i in range(16):
        error = (predicted[i] - draws.eps[i]).square().mean().item()
        expected += 100 / 3 / COUNTS[int(labels[i])] * error / 16
    assert found.item() == pytest.approx(expected, rel=1e-5)


def _plain(draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    return draws.t, draws.eps, draws.dropped

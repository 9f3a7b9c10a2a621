import dataclasses
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from diffrop.config import ContrastiveConfig, DiffusionConfig
from diffrop.diffusion.contrastive import ContrastiveLoss
from diffrop.diffusion.objective import Draws, Losses, Objective, draw
from diffrop.diffusion.schedule import NoiseSchedule

MODES = ["grouped", "batch", "per_sample"]
CLASS_COUNTS = torch.tensor([10, 4, 1])
NULL = 3
SHAPE = (16, 1, 4, 4)


def config(timesteps: str = "grouped", **values: object) -> DiffusionConfig:
    return DiffusionConfig(timesteps=timesteps, **values)


def make_draws(diffusion: DiffusionConfig, seed: int = 0) -> Draws:
    return draw(diffusion, SHAPE, torch.Generator().manual_seed(seed))


class TinyDenoiser(nn.Module):
    """A convolution plus embeddings; remembers what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.label = nn.Embedding(NULL + 1, 1)
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        self.calls.append((x_t, t, labels))
        return self.conv(x_t) + self.label(labels)[:, :, None, None] + t.view(-1, 1, 1, 1) / 1000


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_0 = torch.rand(SHAPE, generator=generator) * 2 - 1
    return x_0, torch.randint(NULL, SHAPE[:1], generator=generator)


def run(
    diffusion: DiffusionConfig,
    contrastive: ContrastiveConfig,
    draws: Draws,
    images_seen: int = 0,
    model: nn.Module | None = None,
) -> Losses:
    schedule = NoiseSchedule.linear(diffusion)
    objective = Objective(diffusion, contrastive, schedule, CLASS_COUNTS)
    x_0, labels = images()
    return objective(model or seeded(TinyDenoiser), x_0, labels, draws, images_seen)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("noise", ["own", "shared"])
def test_each_timestep_is_uniform_over_the_schedule(mode: str, noise: str) -> None:
    diffusion = config(mode, num_timesteps=10, noise=noise)
    generator = torch.Generator().manual_seed(0)
    draws = [draw(diffusion, (16, 1, 1, 1), generator).t for _ in range(2000)]
    for position in (0, 7, 15):
        counts = torch.stack(draws)[:, position].bincount(minlength=10)
        assert counts.shape == (10,)
        assert stats.chisquare(counts.numpy()).pvalue > 0.001


@pytest.mark.parametrize(("mode", "sharing"), [("grouped", 8), ("batch", 16), ("per_sample", 1)])
def test_consecutive_images_share_a_timestep_according_to_the_mode(
    mode: str, sharing: int
) -> None:
    draws = [make_draws(config(mode), seed).t for seed in range(200)]
    for t in draws:
        groups = t.view(-1, sharing)
        assert (groups == groups[:, :1]).all()
    firsts = torch.stack(draws)[:, ::sharing].double()
    if firsts.shape[1] > 1:  # groups are drawn independently of one another
        assert torch.corrcoef(firsts[:, :2].T)[0, 1].abs() < 0.25
        assert (firsts[:, 0] != firsts[:, 1]).any()


@pytest.mark.parametrize("group_size", [2, 4, 16])
def test_group_size_sets_how_many_images_share_a_timestep(group_size: int) -> None:
    t = make_draws(config(group_size=group_size)).t
    groups = t.view(-1, group_size)
    assert (groups == groups[:, :1]).all()
    assert groups[:, 0].unique().numel() == 16 // group_size


@pytest.mark.parametrize(("mode", "sharing"), [("grouped", 8), ("batch", 16), ("per_sample", 16)])
def test_shared_noise_is_equal_for_all_images_that_form_pairs(mode: str, sharing: int) -> None:
    eps = make_draws(config(mode, noise="shared")).eps
    assert eps.shape == SHAPE
    groups = eps.view(-1, sharing, 16)
    assert (groups == groups[:, :1]).all()
    assert groups[:, 0].unique(dim=0).shape[0] == 16 // sharing


@pytest.mark.parametrize("mode", MODES)
def test_own_noise_differs_between_images_and_is_standard_normal(mode: str) -> None:
    diffusion = config(mode, noise="own")
    eps = torch.stack([make_draws(diffusion, seed).eps for seed in range(50)])
    assert eps[0].flatten(1).unique(dim=0).shape[0] == 16
    assert stats.kstest(eps.flatten().numpy(), "norm").pvalue > 0.001


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("unit", ["sample", "batch"])
def test_labels_are_dropped_at_the_configured_rate(unit: str, rate: float) -> None:
    diffusion = config(label_dropout=rate, label_dropout_unit=unit)
    generator = torch.Generator().manual_seed(1)
    dropped = torch.stack([draw(diffusion, SHAPE, generator).dropped for _ in range(1000)])
    assert dropped.shape == (1000, 16)
    trials = 16_000 if unit == "sample" else 1000
    hits = int(dropped.sum() if unit == "sample" else dropped[:, 0].sum())
    assert stats.binomtest(hits, trials, rate).pvalue > 0.001
    together = (dropped == dropped[:, :1]).all(dim=1)
    assert together.all() if unit == "batch" else together.float().mean() < 0.5


@pytest.mark.parametrize("unit", ["sample", "batch"])
def test_no_label_is_dropped_at_rate_zero(unit: str) -> None:
    dropped = make_draws(config(label_dropout=0.0, label_dropout_unit=unit)).dropped
    assert dropped.dtype == torch.bool
    assert not dropped.any()


@pytest.mark.parametrize("mode", MODES)
def test_same_seed_gives_the_same_draws_and_another_seed_others(mode: str) -> None:
    first, again, other = (make_draws(config(mode), seed) for seed in (3, 3, 4))
    for name in ("t", "eps", "dropped"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.eps, other.eps)


@pytest.mark.parametrize("mode", MODES)
def test_every_loss_trains_on_the_same_noisy_images(mode: str) -> None:
    diffusion = config(mode)
    generator = torch.Generator().manual_seed(0)
    seen = []
    for form in ("none", "negative_l2", "hinge", "reciprocal", "exponential"):
        generator.manual_seed(0)
        for _ in range(2):  # the second batch shows that no loss takes from the generator
            model = seeded(TinyDenoiser)
            contrastive = ContrastiveConfig(form=form)
            run(diffusion, contrastive, draw(diffusion, SHAPE, generator), model=model)
        seen.append(model.calls[0])
    for others in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], others, strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_form_none_is_the_plain_mean_squared_error(mode: str) -> None:
    diffusion = config(mode, label_dropout=0.3)
    draws = make_draws(diffusion)
    losses = run(diffusion, ContrastiveConfig(form="none"), draws)
    x_0, labels = images()
    alpha_bar = NoiseSchedule.linear(diffusion).alpha_bar[draws.t].view(-1, 1, 1, 1)
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * draws.eps
    labels = torch.where(draws.dropped, NULL, labels)
    predicted = seeded(TinyDenoiser)(x_t, draws.t, labels)
    torch.testing.assert_close(losses.ddpm, nn.functional.mse_loss(predicted, draws.eps))
    assert losses.contrastive is None
    assert torch.equal(losses.total, losses.ddpm)


@pytest.mark.parametrize(("images_seen", "active"), [(0, False), (99, False), (100, True)])
def test_contrastive_term_waits_for_start_images(images_seen: int, active: bool) -> None:
    diffusion = config()
    contrastive = ContrastiveConfig(start_images=100)
    losses = run(diffusion, contrastive, make_draws(diffusion), images_seen)
    assert (losses.contrastive is not None) == active
    assert (losses.total.item() != losses.ddpm.item()) == active


@pytest.mark.parametrize("form", ["negative_l2", "hinge", "reciprocal", "exponential"])
@pytest.mark.parametrize("mode", MODES)
def test_total_is_the_sum_of_the_parts_in_value_and_gradient(mode: str, form: str) -> None:
    diffusion = config(mode)
    contrastive = ContrastiveConfig(form=form, margin=1.05)
    draws = make_draws(diffusion)
    model = seeded(TinyDenoiser)
    losses = run(diffusion, contrastive, draws, model=model)
    assert losses.contrastive is not None
    parts = (losses.ddpm, losses.contrastive.loss)
    torch.testing.assert_close(losses.total, parts[0] + parts[1])
    parameters = list(model.parameters())

    def gradient(loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, parameters, retain_graph=True))

    summed = [a + b for a, b in zip(gradient(parts[0]), gradient(parts[1]), strict=True)]
    for found, expected in zip(gradient(losses.total), summed, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", MODES)
def test_contrastive_term_is_that_of_the_noisy_batch_with_dropped_labels(mode: str) -> None:
    diffusion = config(mode, label_dropout=0.4)
    contrastive = ContrastiveConfig(tau_0=5.0)
    draws = make_draws(diffusion)
    model = seeded(TinyDenoiser)
    losses = run(diffusion, contrastive, draws, model=model)
    x_t, t, labels = model.calls[0]
    assert torch.equal(labels == NULL, draws.dropped)
    group = diffusion.group_size if mode == "grouped" else None
    schedule = NoiseSchedule.linear(diffusion)
    pcl = ContrastiveLoss(contrastive, schedule, CLASS_COUNTS, group)
    expected = pcl(x_t, t, labels, draws.eps, model(x_t, t, labels))
    assert losses.contrastive is not None
    torch.testing.assert_close(losses.contrastive.loss, expected.loss)
    assert losses.contrastive.num_pairs == expected.num_pairs


def test_caller_keeps_its_labels_when_some_are_dropped() -> None:
    diffusion = config(label_dropout=0.5)
    x_0, labels = images()
    before = labels.clone()
    objective = Objective(
        diffusion, ContrastiveConfig(), NoiseSchedule.linear(diffusion), CLASS_COUNTS
    )
    objective(seeded(TinyDenoiser), x_0, labels, make_draws(diffusion), 0)
    assert torch.equal(labels, before)


def test_dropping_every_label_leaves_the_plain_loss() -> None:
    diffusion = config()
    draws = dataclasses.replace(make_draws(diffusion), dropped=torch.ones(16, dtype=torch.bool))
    losses = run(diffusion, ContrastiveConfig(tau_0=100.0), draws)
    assert losses.contrastive is not None
    assert losses.contrastive.loss.item() == 0
    assert losses.total.item() == losses.ddpm.item()


def test_bfloat16_predictions_are_compared_in_float32() -> None:
    diffusion = config()
    draws = make_draws(diffusion)

    class Rounded(TinyDenoiser):
        def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
            return super().forward(x_t, t, labels).bfloat16()

    losses = run(diffusion, ContrastiveConfig(), draws, model=seeded(Rounded))
    assert losses.ddpm.dtype == losses.total.dtype == torch.float32

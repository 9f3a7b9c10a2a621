import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from diffrop.config import ContrastiveConfig, DiffusionConfig
from diffrop.diffusion.contrastive import (
    ContrastiveLoss,
    ContrastiveTerms,
    squared_distances,
    tau_table,
)
from diffrop.diffusion.schedule import NoiseSchedule

CLASS_COUNTS = torch.tensor([10, 4, 4, 1])
NULL = 4
LABELS = [0, 1, 2, 3, 1, NULL, 3, 0, 2, 0, 0, 1]
GROUP_SIZE = 4
SHAPE = (2, 2, 2)
DIFFUSION = DiffusionConfig(num_timesteps=20, beta_start=0.02, beta_end=0.3)
TIMESTEPS = {
    "grouped": [3] * 4 + [11] * 4 + [3] * 4,
    "batch": [7] * 12,
    "per_sample": [0, 3, 11, 5, 19, 2, 8, 14, 3, 17, 6, 10],
}
FORMS = ["none", "negative_l2", "hinge", "reciprocal", "exponential"]
SPACES = ["mu", "x0", "eps"]
RULES = ["oracle", "constant", "quantile"]
MARGINS = {"oracle": 1.0, "constant": 1.0, "quantile": 0.37}
FORMS_AND_RULES = [(form, "oracle") for form in FORMS if form != "hinge"] + [
    ("hinge", rule) for rule in RULES
]


@dataclass(frozen=True)
class Batch:
    """What the loss receives, and which images may meet."""

    x_t: Tensor
    t: Tensor
    labels: Tensor
    eps: Tensor
    eps_theta: Tensor
    group_size: int | None

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.x_t, self.t, self.labels, self.eps


@dataclass(frozen=True)
class Expected:
    """The loss by a double loop over pairs."""

    loss: float
    gradient: np.ndarray
    num_pairs: int
    active_share: float


def float64_schedule(config: DiffusionConfig = DIFFUSION) -> NoiseSchedule:
    steps = config.num_timesteps
    beta = torch.linspace(config.beta_start, config.beta_end, steps, dtype=torch.float64)
    alpha_bar = torch.cumprod(1 - beta, 0)
    mu_eps = beta / ((1 - beta).sqrt() * (1 - alpha_bar).sqrt())
    return NoiseSchedule(beta, 1 - beta, alpha_bar, mu_eps)


def make_batch(
    timesteps: str = "grouped",
    noise: str = "own",
    labels: list[int] = LABELS,
    shape: tuple[int, int, int] = SHAPE,
    seed: int = 0,
) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = (len(labels), *shape)
    x_0 = 0.4 * torch.randn(size, generator=generator, dtype=torch.float64)
    eps = torch.randn(size, generator=generator, dtype=torch.float64)
    if noise == "shared":
        sharing = GROUP_SIZE if timesteps == "grouped" else len(labels)
        eps = eps[::sharing].repeat_interleave(sharing, dim=0)
    t = torch.tensor(TIMESTEPS[timesteps][: len(labels)])
    eps_theta = eps + 0.15 * torch.randn(size, generator=generator, dtype=torch.float64)
    return Batch(
        x_t=float64_schedule().q_sample(x_0, t, eps),
        t=t,
        labels=torch.tensor(labels),
        eps=eps,
        eps_theta=eps_theta,
        group_size=GROUP_SIZE if timesteps == "grouped" else None,
    )


def make_loss(
    config: ContrastiveConfig, group_size: int | None, counts: Tensor = CLASS_COUNTS
) -> ContrastiveLoss:
    return ContrastiveLoss(config, float64_schedule(), counts, group_size)


def evaluate(loss: ContrastiveLoss, batch: Batch) -> tuple[ContrastiveTerms, Tensor]:
    """The terms and the gradient with respect to eps_theta (the form none has no graph)."""
    eps_theta = batch.eps_theta.clone().requires_grad_()
    terms = loss(*batch.inputs(), eps_theta)
    if not terms.loss.requires_grad:
        return terms, torch.zeros_like(eps_theta)
    (gradient,) = torch.autograd.grad(terms.loss, eps_theta)
    return terms, gradient


def tau_of(config: ContrastiveConfig, t: int, num_timesteps: int) -> float:
    share = t / num_timesteps
    factors = {
        "exponential": math.exp(-t / (config.decay_temperature * num_timesteps)),
        "constant": 1.0,
        "linear": 1 - share,
        "cosine": math.cos(math.pi * share / 2) ** 2,
    }
    return config.tau_0 * factors[config.tau_schedule]


class BruteForce:
    """The loss of one batch and its gradient by hand, from Eq. 8 to 15 and Algorithm 1."""

    def __init__(self, config: ContrastiveConfig, batch: Batch) -> None:
        self.config = config
        self.num_timesteps = DIFFUSION.num_timesteps
        self.beta = np.linspace(DIFFUSION.beta_start, DIFFUSION.beta_end, self.num_timesteps)
        self.alpha_bar = np.array([np.prod(1 - self.beta[: t + 1]) for t in range(20)])
        self.t = batch.t.tolist()
        self.labels = batch.labels.tolist()
        self.counts = CLASS_COUNTS.tolist()
        self.num_values = batch.x_t[0].numel()
        size = batch.group_size or len(self.labels)
        self.pairs = [
            (i, j)
            for i, j in itertools.product(range(len(self.labels)), repeat=2)
            if i // size == j // size
            and NULL not in (self.labels[i], self.labels[j])
            and self.labels[i] != self.labels[j]
        ]
        self.x_t = batch.x_t.flatten(1).numpy()
        self.r = self.represent(batch.eps_theta.flatten(1).numpy())
        self.r_true = self.represent(batch.eps.flatten(1).numpy())
        self.d = {(i, j): self.distance(self.r, i, j) for i, j in self.pairs}
        self.quantiles: dict[int, float] = {}

    def noise_weight(self, t: int) -> float:
        """The derivative of an image's representation with respect to its eps_theta."""
        alpha, alpha_bar = 1 - self.beta[t], self.alpha_bar[t]
        return {
            "mu": -(1 - alpha) / (math.sqrt(alpha) * math.sqrt(1 - alpha_bar)),
            "x0": -math.sqrt(1 - alpha_bar),
            "eps": 1.0,
        }[self.config.space]

    def represent(self, eps: np.ndarray) -> list[np.ndarray]:
        rows = []
        for x_t, row, t in zip(self.x_t, eps, self.t, strict=True):
            alpha, alpha_bar = 1 - self.beta[t], self.alpha_bar[t]
            x_0 = (x_t - math.sqrt(1 - alpha_bar) * row) / math.sqrt(alpha_bar)
            mu = (x_t - (1 - alpha) / math.sqrt(1 - alpha_bar) * row) / math.sqrt(alpha)
            space = {"mu": mu, "x0": math.sqrt(alpha_bar) * x_0, "eps": row}
            rows.append(space[self.config.space])
        return rows

    def scale(self, i: int) -> float:
        scale = 1 / self.num_values if self.config.distance_reduction == "mean" else 1.0
        return scale / (2 * self.beta[self.t[i]]) if self.config.variance_scale else scale

    def distance(self, r: list[np.ndarray], i: int, j: int) -> float:
        difference = r[i] - r[j]
        return self.scale(i) * float(difference @ difference)

    def first_quantile(self, t: int) -> float:
        """The margin after one batch: mean over the images at t of their own quantile."""
        quantiles = []
        for i in [i for i in range(len(self.t)) if self.t[i] == t]:
            distances = [d for (first, _), d in self.d.items() if first == i]
            if distances:
                quantiles.append(np.quantile(distances, self.config.margin))
        return float(np.mean(quantiles))

    def margin(self, i: int, j: int) -> float:
        if self.config.margin_rule == "oracle":
            return self.config.margin * self.distance(self.r_true, i, j)
        if self.config.margin_rule == "constant":
            return self.config.margin
        if not self.quantiles:
            seen = {self.t[i] for i, _ in self.pairs}
            self.quantiles = {t: self.first_quantile(t) for t in seen}
        return self.quantiles[self.t[i]]

    def value_and_slope(self, i: int, j: int) -> tuple[float, float]:
        """phi(d_ij) and its derivative."""
        d = self.d[i, j]
        if self.config.form == "hinge":
            margin = self.margin(i, j)
            return max(0.0, margin - d), -1.0 if d < margin else 0.0
        return {
            "none": (0.0, 0.0),
            "negative_l2": (-d, -1.0),
            "reciprocal": (1 / (1 + d), -1 / (1 + d) ** 2),
            "exponential": (math.exp(-d), -math.exp(-d)),
        }[self.config.form]

    def moves(self, i: int, j: int) -> tuple[bool, bool]:
        if self.config.stop_gradient == "none":
            return True, True
        count_i, count_j = (self.counts[self.labels[k]] for k in (i, j))
        return count_i <= count_j, count_j <= count_i

    def expected(self) -> Expected:
        loss, num_active = 0.0, 0
        gradient = np.zeros_like(self.x_t)
        for i, j in self.pairs:
            value, slope = self.value_and_slope(i, j)
            tau = tau_of(self.config, self.t[i], self.num_timesteps)
            loss += tau * value
            num_active += self.config.form != "hinge" or value > 0
            if slope == 0:
                continue
            push = tau * slope * self.scale(i) * 2 * (self.r[i] - self.r[j])
            moves_i, moves_j = self.moves(i, j)
            if moves_i:
                gradient[i] += push * self.noise_weight(self.t[i])
            if moves_j:
                gradient[j] -= push * self.noise_weight(self.t[j])
        total = len(self.pairs) if self.config.pair_reduction == "mean" else 1
        share = num_active / len(self.pairs)
        return Expected(loss / total, gradient / total, len(self.pairs), share)


def every_config(form: str, rule: str, space: str) -> Iterator[ContrastiveConfig]:
    """All combinations of the other options; those that the configuration refuses are left out."""
    unbounded = form == "negative_l2" and space != "mu"
    for schedule, distance, variance, pairs, stop in itertools.product(
        ["exponential", "constant", "linear", "cosine"],
        ["mean"] if unbounded else ["mean", "sum"],
        [False] if unbounded else [False, True],
        ["mean", "sum"],
        ["none", "frequent"],
    ):
        values: dict[str, Any] = {
            "form": form,
            "tau_0": 0.15 if unbounded else 1.7,
            "tau_schedule": schedule,
            "space": space,
            "distance_reduction": distance,
            "variance_scale": variance,
            "pair_reduction": pairs,
            "margin_rule": rule,
            "margin": MARGINS[rule],
            "stop_gradient": stop,
        }
        yield ContrastiveConfig(**values)


def with_typical_constant(config: ContrastiveConfig, batch: Batch) -> ContrastiveConfig:
    """Put a constant margin amid the distances, so that some pairs are active and some are not."""
    if config.form != "hinge" or config.margin_rule != "constant":
        return config
    distances = sorted(set(BruteForce(config, batch).d.values()))
    middle = len(distances) // 2
    return dataclasses.replace(config, margin=(distances[middle - 1] + distances[middle]) / 2)


@pytest.mark.parametrize("timesteps", ["grouped", "batch", "per_sample"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("form", "rule"), FORMS_AND_RULES)
def test_every_option_equals_a_double_loop_over_pairs(
    form: str, rule: str, space: str, timesteps: str
) -> None:
    for noise in ("own", "shared"):
        batch = make_batch(timesteps, noise)
        for option in every_config(form, rule, space):
            config = with_typical_constant(option, batch)
            expected = BruteForce(config, batch).expected()
            terms, gradient = evaluate(make_loss(config, batch.group_size), batch)
            found = gradient.flatten(1).numpy()
            largest = np.abs(expected.gradient).max()
            message = f"{config} with {noise} noise"
            assert terms.loss.item() == pytest.approx(expected.loss, rel=1e-6, abs=1e-8), message
            np.testing.assert_allclose(
                found, expected.gradient, rtol=1e-5, atol=1e-6 * largest + 1e-12, err_msg=message
            )
            assert terms.num_pairs.item() == expected.num_pairs, message
            assert terms.active_share.item() == pytest.approx(expected.active_share), message


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("space", SPACES)
def test_double_loop_has_active_and_inactive_hinge_pairs(space: str, rule: str) -> None:
    batch = make_batch("batch")
    config = ContrastiveConfig(form="hinge", margin_rule=rule, margin=MARGINS[rule], space=space)
    expected = BruteForce(with_typical_constant(config, batch), batch).expected()
    assert 0.1 < expected.active_share < 0.9


@pytest.mark.parametrize("timesteps", ["grouped", "batch", "per_sample"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize(("form", "rule"), [pair for pair in FORMS_AND_RULES if pair[0] != "none"])
def test_gradient_equals_finite_differences(
    form: str, rule: str, space: str, timesteps: str
) -> None:
    batch = make_batch(timesteps, labels=LABELS[:8], shape=(1, 2, 2))
    config = ContrastiveConfig(
        form=form,
        tau_0=0.2,
        space=space,
        margin_rule=rule,
        margin=MARGINS[rule],
    )
    config = with_typical_constant(config, batch)
    loss = make_loss(config, batch.group_size)
    loss(*batch.inputs(), batch.eps_theta)  # sets the quantile, which gets no gradient
    loss.eval()
    if form == "hinge":
        brute = BruteForce(config, batch)
        assert min(abs(brute.margin(*pair) - brute.d[pair]) for pair in brute.pairs) > 1e-5
    eps_theta = batch.eps_theta.clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda value: loss(*batch.inputs(), value).loss, (eps_theta,), eps=1e-7, atol=1e-6
    )


@pytest.mark.parametrize("noise", ["own", "shared"])
@pytest.mark.parametrize("schedule", ["constant", "exponential"])
def test_one_timestep_and_plain_sums_are_algorithm_1(noise: str, schedule: str) -> None:
    batch = make_batch("batch", noise, labels=[label for label in LABELS if label != NULL])
    config = ContrastiveConfig(
        distance_reduction="sum", pair_reduction="sum", tau_schedule=schedule, tau_0=2.0
    )
    t = int(batch.t[0])
    tables = float64_schedule()
    alpha, alpha_bar = tables.alpha[t], tables.alpha_bar[t]
    weight = (1 - alpha) / (alpha.sqrt() * (1 - alpha_bar).sqrt())
    eps_theta = batch.eps_theta.clone().requires_grad_()
    mu = batch.x_t / alpha.sqrt() - weight * eps_theta
    pcl = torch.zeros((), dtype=torch.float64)
    for i, label_i in enumerate(batch.labels):
        for j, label_j in enumerate(batch.labels):
            if label_i != label_j:
                d_ij = (mu[i] - mu[j]).square().sum()
                pcl = pcl + tau_of(config, t, tables.num_timesteps) * 1 / (1 + d_ij)
    (expected,) = torch.autograd.grad(pcl, eps_theta)

    terms, gradient = evaluate(make_loss(config, None), batch)
    torch.testing.assert_close(terms.loss, pcl.detach(), rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "labels",
    [[2] * 12, [NULL] * 12, [0] + [NULL] * 11, [0] * 4 + [1] * 4 + [2] * 4],
    ids=["one_class", "all_null", "one_label_left", "one_class_a_group"],
)
@pytest.mark.parametrize("pair_reduction", ["mean", "sum"])
@pytest.mark.parametrize(("form", "rule"), FORMS_AND_RULES)
def test_no_valid_pair_gives_zero_loss_and_gradient(
    form: str, rule: str, pair_reduction: str, labels: list[int]
) -> None:
    batch = make_batch("grouped", labels=labels)
    config = ContrastiveConfig(
        form=form,
        pair_reduction=pair_reduction,
        margin_rule=rule,
        margin=MARGINS[rule],
    )
    terms, gradient = evaluate(make_loss(config, GROUP_SIZE), batch)
    assert terms.loss.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert terms.num_pairs.item() == 0
    assert terms.active_share.item() == 0


@pytest.mark.parametrize("timesteps", ["grouped", "batch", "per_sample"])
def test_images_with_a_null_label_change_nothing(timesteps: str) -> None:
    batch = make_batch(timesteps)
    nulls = batch.labels == NULL
    config = ContrastiveConfig(pair_reduction="mean", stop_gradient="frequent")
    terms, gradient = evaluate(make_loss(config, batch.group_size), batch)
    assert torch.equal(gradient[nulls], torch.zeros_like(gradient[nulls]))
    elsewhere = torch.where(nulls.view(-1, 1, 1, 1), 5 - batch.eps_theta, batch.eps_theta)
    moved, _ = evaluate(
        make_loss(config, batch.group_size), dataclasses.replace(batch, eps_theta=elsewhere)
    )
    torch.testing.assert_close(moved.loss, terms.loss)


def test_images_of_other_groups_change_nothing() -> None:
    batch = make_batch("grouped")
    config = ContrastiveConfig(pair_reduction="sum")
    whole, gradient = evaluate(make_loss(config, GROUP_SIZE), batch)
    losses, gradients = [], []
    for start in range(0, 12, GROUP_SIZE):
        part = slice(start, start + GROUP_SIZE)
        group = Batch(*(value[part] for value in (*batch.inputs(), batch.eps_theta)), None)
        terms, own = evaluate(make_loss(config, None), group)
        losses.append(terms.loss)
        gradients.append(own)
    torch.testing.assert_close(whole.loss, torch.stack(losses).sum())
    torch.testing.assert_close(gradient, torch.cat(gradients))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("exponential", [1.0, 0.43, 0.19, 0.08, 0.04]),
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25, 0.0]),
        ("cosine", [1.0, 0.854, 0.5, 0.146, 0.0]),
    ],
)
def test_tau_starts_at_tau_0_and_decays_as_documented(
    schedule: str, expected: list[float]
) -> None:
    config = ContrastiveConfig(tau_schedule=schedule, tau_0=3.0)
    tau = tau_table(config, 1000)
    assert tau.dtype == torch.float32
    found = tau[torch.tensor([0, 250, 500, 750, 999])] / 3.0
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=0.006)
    assert (tau.diff() <= 0).all()


@pytest.mark.parametrize("kappa", [0.05, 0.3, 2.0])
def test_decay_temperature_is_the_share_of_steps_to_one_over_e(kappa: float) -> None:
    tau = tau_table(ContrastiveConfig(decay_temperature=kappa), 100)
    expected = [math.exp(-t / (kappa * 100)) for t in range(100)]
    torch.testing.assert_close(tau, torch.tensor(expected))


def cifar_sized(seed: int = 0) -> Batch:
    """Two classes of 32x32 images under independent noise at t = 500 of the paper's schedule."""
    generator = torch.Generator().manual_seed(seed)
    x_t, eps, eps_theta = torch.randn(3, 4, 3, 32, 32, generator=generator)
    return Batch(x_t, torch.full((4,), 500), torch.tensor([0, 1, 0, 1]), eps, eps_theta, None)


@pytest.mark.parametrize(("distance_reduction", "dead"), [("sum", True), ("mean", False)])
def test_exponential_form_underflows_with_literal_sums_only(
    distance_reduction: str, dead: bool
) -> None:
    batch = cifar_sized()
    config = ContrastiveConfig(form="exponential", distance_reduction=distance_reduction)
    schedule = NoiseSchedule.linear(DiffusionConfig())
    terms, gradient = evaluate(ContrastiveLoss(config, schedule, CLASS_COUNTS, None), batch)
    assert (terms.loss.item() == 0) == dead
    assert (gradient.abs().max().item() == 0) == dead


@pytest.mark.parametrize("timesteps", ["grouped", "batch", "per_sample"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("stop", ["none", "frequent"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("margin", [0.5, 0.99, 1.0])
def test_oracle_hinge_vanishes_where_the_prediction_is_the_true_noise(
    margin: float, dtype: torch.dtype, stop: str, space: str, timesteps: str
) -> None:
    batch = make_batch(timesteps)
    x_t, eps = batch.x_t.to(dtype), batch.eps.to(dtype)
    exact = dataclasses.replace(batch, x_t=x_t, eps=eps, eps_theta=eps.clone())
    config = ContrastiveConfig(form="hinge", margin=margin, space=space, stop_gradient=stop)
    terms, gradient = evaluate(make_loss(config, batch.group_size), exact)
    assert terms.loss.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert terms.active_share.item() == 0


def test_oracle_hinge_above_one_pushes_even_at_the_true_noise() -> None:
    batch = make_batch()
    exact = dataclasses.replace(batch, eps_theta=batch.eps.clone())
    config = ContrastiveConfig(form="hinge", margin=1.1)
    terms, _ = evaluate(make_loss(config, batch.group_size), exact)
    assert terms.loss.item() > 0
    assert terms.active_share.item() == 1


def quantile_loss(group_size: int | None) -> ContrastiveLoss:
    config = ContrastiveConfig(form="hinge", margin_rule="quantile", margin=0.37)
    return make_loss(config, group_size)


def test_running_quantile_starts_at_the_first_batch_and_then_moves_by_momentum() -> None:
    loss = quantile_loss(GROUP_SIZE)
    assert loss.margin_quantile.isnan().all()
    running: dict[int, float] = {}
    for seed in range(4):
        batch = make_batch("grouped", seed=seed)
        loss(*batch.inputs(), batch.eps_theta)
        brute = BruteForce(loss.config, batch)
        for t in (3, 11):
            first = brute.first_quantile(t)
            running[t] = 0.9 * running[t] + 0.1 * first if t in running else first
        for t, expected in running.items():
            assert loss.margin_quantile[t].item() == pytest.approx(expected, rel=1e-6)
    unseen = [t for t in range(20) if t not in running]
    assert loss.margin_quantile[unseen].isnan().all()


def test_running_quantile_stands_still_in_eval_mode_but_is_used() -> None:
    loss, batch = quantile_loss(GROUP_SIZE), make_batch("grouped")
    loss(*batch.inputs(), batch.eps_theta)
    before = loss.margin_quantile.clone()
    other = make_batch("grouped", seed=5)
    loss.eval()
    terms = loss(*other.inputs(), other.eps_theta)
    assert torch.equal(loss.margin_quantile.nan_to_num(-1), before.nan_to_num(-1))
    assert terms.loss.item() > 0


def test_quantile_of_an_unseen_timestep_is_no_margin_in_eval_mode() -> None:
    loss, batch = quantile_loss(GROUP_SIZE), make_batch("grouped")
    terms, gradient = evaluate(loss.eval(), batch)
    assert terms.loss.item() == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_batch_without_pairs_leaves_the_running_quantile_alone() -> None:
    loss, batch = quantile_loss(GROUP_SIZE), make_batch("grouped")
    loss(*batch.inputs(), batch.eps_theta)
    before = loss.margin_quantile.clone()
    empty = dataclasses.replace(batch, labels=torch.full_like(batch.labels, NULL))
    loss(*empty.inputs(), empty.eps_theta)
    assert torch.equal(loss.margin_quantile.nan_to_num(-1), before.nan_to_num(-1))


def test_running_quantile_is_saved_and_the_tables_are_not() -> None:
    assert list(quantile_loss(None).state_dict()) == ["margin_quantile"]


@pytest.mark.parametrize("form", FORMS)
def test_stop_gradient_keeps_the_value(form: str) -> None:
    batch = make_batch()
    plain = ContrastiveConfig(form=form)
    values = [
        evaluate(make_loss(config, GROUP_SIZE), batch)[0].loss
        for config in (plain, dataclasses.replace(plain, stop_gradient="frequent"))
    ]
    assert torch.equal(*values)


@pytest.mark.parametrize(
    ("labels", "movable"),
    [
        ([0, 3], [False, True]),
        ([3, 0], [True, False]),
        ([1, 2], [True, True]),
        ([0, 1, 3], [False, True, True]),
        ([0, 0, 1], [False, False, True]),
        ([0, NULL, 3], [False, False, True]),
    ],
)
def test_stop_gradient_moves_the_rarer_class_of_each_pair(
    labels: list[int], movable: list[bool]
) -> None:
    batch = make_batch("batch", labels=labels)
    config = ContrastiveConfig(stop_gradient="frequent")
    _, gradient = evaluate(make_loss(config, None), batch)
    assert [bool(moves) for moves in gradient.flatten(1).abs().sum(1) > 0] == movable


class LargestTensor(TorchDispatchMode):
    """Remember the number of elements of the largest tensor any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.num_elements = 0

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                self.num_elements = max(self.num_elements, tensor.numel())
        return result


@pytest.mark.parametrize("stop", ["none", "frequent"])
@pytest.mark.parametrize(("form", "rule"), FORMS_AND_RULES)
def test_no_tensor_holds_every_pair_of_images(form: str, rule: str, stop: str) -> None:
    num_images, num_values = 12, 64
    batch = make_batch("batch", shape=(1, 8, 8))
    config = ContrastiveConfig(
        form=form,
        margin_rule=rule,
        margin=MARGINS[rule],
        stop_gradient=stop,
    )
    with LargestTensor() as largest:
        evaluate(make_loss(config, None), batch)
    assert 0 < largest.num_elements <= 2 * num_images * num_values


def test_largest_tensor_is_seen_in_a_naive_computation() -> None:
    rows = torch.randn(12, 64, requires_grad=True)
    with LargestTensor() as largest:
        (rows[:, None] - rows[None]).square().sum(-1)
    assert largest.num_elements == 12 * 12 * 64


@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("num_values", [64, 3072])
def test_float32_distances_survive_a_common_offset(num_values: int, offset: float) -> None:
    generator = torch.Generator().manual_seed(0)
    a = offset + torch.randn(2, 8, num_values, generator=generator)
    b = offset + torch.randn(2, 6, num_values, generator=generator)
    exact = (a.double()[:, :, None] - b.double()[:, None]).square().sum(-1)
    distances = squared_distances(a, b)
    assert distances.dtype == torch.float32
    torch.testing.assert_close(distances.double(), exact, rtol=1e-4, atol=0)


def test_distances_of_equal_images_are_almost_zero_and_never_negative() -> None:
    generator = torch.Generator().manual_seed(0)
    a = 3 * torch.randn(16, 8, 48, generator=generator)
    b = torch.cat([a, torch.randn(16, 2, 48, generator=generator)], dim=1)
    distances = squared_distances(a, b)
    assert (distances >= 0).all()
    assert distances.diagonal(dim1=1, dim2=2).max() <= 1e-5 * distances.max()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_does_not_reach_the_loss(space: str, dtype: torch.dtype) -> None:
    batch = cifar_sized()
    batch = dataclasses.replace(batch, eps_theta=batch.eps_theta.to(dtype))
    config = ContrastiveConfig(space=space)
    schedule = NoiseSchedule.linear(DiffusionConfig())
    loss = ContrastiveLoss(config, schedule, CLASS_COUNTS, None)
    outside, gradient = evaluate(loss, batch)
    eps_theta = batch.eps_theta.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(*batch.inputs(), eps_theta)
    (inner,) = torch.autograd.grad(inside.loss, eps_theta)
    assert inside.loss.dtype == torch.float32
    assert torch.equal(inside.loss, outside.loss)
    assert torch.equal(inner, gradient)


@pytest.mark.parametrize("timesteps", ["grouped", "batch", "per_sample"])
def test_float32_loss_is_close_to_float64(timesteps: str) -> None:
    batch = make_batch(timesteps)
    single = dataclasses.replace(
        batch, x_t=batch.x_t.float(), eps=batch.eps.float(), eps_theta=batch.eps_theta.float()
    )
    loss = ContrastiveLoss(
        ContrastiveConfig(), NoiseSchedule.linear(DIFFUSION), CLASS_COUNTS, batch.group_size
    )
    terms, gradient = evaluate(loss, single)
    expected = BruteForce(loss.config, batch).expected()
    assert terms.loss.dtype == torch.float32
    assert terms.loss.item() == pytest.approx(expected.loss, rel=1e-5)
    largest = np.abs(expected.gradient).max()
    np.testing.assert_allclose(
        gradient.flatten(1).numpy(), expected.gradient, rtol=0, atol=1e-5 * largest
    )

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from diffrop.config import ContrastiveConfig
from diffrop.diffusion.contrastive import ContrastiveLoss, tau_table
from tests.made.contrastive import (
    FORMS,
    FORMS_AND_RULES,
    GROUP_SIZE,
    LABELS,
    MARGINS,
    NULL,
    RULES,
    SPACES,
    Batch,
    BruteForce,
    evaluate,
    float64_schedule,
    make_batch,
    make_loss,
    tau_of,
)


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

"""The bound on tau_0 of negative_l2: what the configuration refuses, and why it lies there."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from diffrop.config import (
    NEGATIVE_L2_MAX_TAU_0,
    ContrastiveConfig,
    DiffusionConfig,
    ExperimentConfig,
)
from diffrop.diffusion.contrastive import ContrastiveLoss
from diffrop.diffusion.schedule import NoiseSchedule

NEGATIVE_L2 = {"form": "negative_l2", "tau_0": NEGATIVE_L2_MAX_TAU_0}


@pytest.mark.parametrize("space", ["x0", "eps"])
@pytest.mark.parametrize(
    "values", [{"tau_0": 0.41}, {"distance_reduction": "sum"}, {"variance_scale": True}]
)
def test_unbounded_negative_l2_is_refused(space: str, values: dict[str, Any]) -> None:
    setting = NEGATIVE_L2 | {"space": space} | values
    with pytest.raises(ValueError, match="allowed: ") as error:
        ExperimentConfig.from_dict({"contrastive": setting})
    message = str(error.value)
    assert f"tau_0 of negative_l2 in {space} space is {setting['tau_0']}" in message
    assert f"at most {NEGATIVE_L2_MAX_TAU_0}" in message
    for other in ({"space": "mu"}, {"form": "reciprocal"}):
        ExperimentConfig.from_dict({"contrastive": setting | other})


@pytest.mark.parametrize("space", ["x0", "eps"])
def test_negative_l2_is_accepted_at_the_bound(space: str) -> None:
    found = ExperimentConfig.from_dict({"contrastive": NEGATIVE_L2 | {"space": space}})
    assert found.contrastive.tau_0 == NEGATIVE_L2_MAX_TAU_0 and found.contrastive.space == space


def smallest_curvature(labels: list[int], tau: float) -> float:
    """Smallest eigenvalue of the Hessian of DDPM + PCL in eps space, by a loop over pairs."""
    num_images = len(labels)
    hessian = torch.diag(torch.full((num_images,), 2 / num_images, dtype=torch.float64))
    pairs = [
        (i, j) for i, j in itertools.product(range(num_images), repeat=2) if labels[i] != labels[j]
    ]
    for i, j in pairs:
        step = torch.zeros(num_images, dtype=torch.float64)
        step[i], step[j] = 1, -1
        hessian -= 2 * tau / len(pairs) * torch.outer(step, step)
    return float(torch.linalg.eigvalsh(hessian)[0])


@pytest.mark.parametrize("group_size", [2, 3, 4, 8, 16])
def test_negative_l2_loses_its_bound_at_the_stated_tau(group_size: int) -> None:
    labels = list(range(group_size))
    limit = (group_size - 1) / (2 * group_size)
    assert smallest_curvature(labels, 0.999 * limit) > 0
    assert smallest_curvature(labels, limit) == pytest.approx(0, abs=1e-12)
    assert smallest_curvature(labels, 1.001 * limit) < 0


def test_limit_is_0_44_for_groups_of_8_and_the_refusal_stays_below() -> None:
    limit = (8 - 1) / (2 * 8)
    assert round(limit, 2) == 0.44
    assert limit > NEGATIVE_L2_MAX_TAU_0
    assert smallest_curvature(list(range(8)), NEGATIVE_L2_MAX_TAU_0) > 0


def implemented_loss(labels: list[int], tau_0: float, eps_theta: Tensor) -> float:
    """DDPM + PCL of one group at constant tau, true noise 0, through the real loss."""
    config = ContrastiveConfig(
        form="negative_l2", space="eps", tau_0=tau_0, tau_schedule="constant"
    )
    schedule = NoiseSchedule.linear(DiffusionConfig())
    pcl = ContrastiveLoss(config, schedule, torch.ones(len(labels)), None)
    t = torch.zeros(len(labels), dtype=torch.int64)
    zeros = torch.zeros_like(eps_theta)
    terms = pcl(zeros, t, torch.tensor(labels), zeros, eps_theta)
    return float(eps_theta.square().mean() + terms.loss)


def test_accepted_negative_l2_grows_with_any_prediction_in_a_full_group() -> None:
    generator = torch.Generator().manual_seed(0)
    for scale in (1.0, 1e3):
        eps_theta = scale * torch.randn(8, 1, 2, 2, generator=generator)
        assert implemented_loss(list(range(8)), NEGATIVE_L2_MAX_TAU_0, eps_theta) > 0
        opposed = scale * torch.tensor([1.0, -1.0] * 4).view(8, 1, 1, 1).expand(8, 1, 2, 2)
        assert implemented_loss(list(range(8)), NEGATIVE_L2_MAX_TAU_0, opposed) > 0


@pytest.mark.parametrize("group_size", [2, 3, 4, 8])
def test_accepted_negative_l2_is_bounded_in_groups_of_every_size(group_size: int) -> None:
    assert smallest_curvature(list(range(group_size)), NEGATIVE_L2_MAX_TAU_0) > 0

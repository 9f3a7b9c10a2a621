import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from diffrop.config import ContrastiveConfig, DiffusionConfig
from diffrop.diffusion.contrastive import ContrastiveLoss, squared_distances
from diffrop.diffusion.schedule import NoiseSchedule
from tests.made.contrastive import (
    CLASS_COUNTS,
    DIFFUSION,
    FORMS_AND_RULES,
    MARGINS,
    SPACES,
    Batch,
    BruteForce,
    evaluate,
    make_batch,
    make_loss,
)


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

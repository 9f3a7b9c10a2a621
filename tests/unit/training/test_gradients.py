import pytest
import torch
from torch import nn

from diffrop.training.gradients import Gradients


def model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    return layers.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_parameter_has_its_gradient_in_its_own_layout(dtype: torch.dtype) -> None:
    network = model()
    gradients = Gradients(network)
    weights = list(network.parameters())
    found = [torch.randn_like(weight).to(dtype).contiguous() for weight in weights]
    gradients.take(found)
    for weight, expected in zip(weights, found, strict=True):
        assert weight.grad is not None and weight.grad.stride() == weight.stride()
        assert weight.grad.equal(expected.float())
    flat = torch.cat([gradient.float().flatten() for gradient in found])
    torch.testing.assert_close(gradients.flat.norm(), flat.norm())


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping_is_that_of_torch(max_norm: float) -> None:
    network, other = model(), model()
    gradients = Gradients(network)
    found = [torch.randn_like(weight) for weight in network.parameters()]
    gradients.take(found)
    for weight, gradient in zip(other.parameters(), found, strict=True):
        weight.grad = gradient.clone()
    expected = nn.utils.clip_grad_norm_(other.parameters(), max_norm)
    torch.testing.assert_close(gradients.clip(max_norm), expected)
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)

import pytest
import torch

from diffrop.baselines.resnet import ResNet32


def test_weights_are_those_of_the_published_network() -> None:
    """0.46 M for CIFAR-10 (He et al., 2016, Table 6); 31 convolutions and one linear layer."""
    network = ResNet32(3, 10)
    assert sum(p.numel() for p in network.parameters()) == 464_154
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 32


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_network_takes_every_image_size(shape: tuple[int, int, int]) -> None:
    assert ResNet32(shape[0], 7)(torch.zeros(2, *shape)).shape == (2, 7)

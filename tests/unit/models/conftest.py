"""A tiny network whose weights have all moved from their start."""

import pytest
import torch

from diffrop.config import ModelConfig
from diffrop.models.unet import UNet

TINY = ModelConfig(
    base_channels=8,
    channel_multipliers=(1,),
    num_res_blocks=1,
    attention_resolutions=(),
    dropout=0.3,
)


@pytest.fixture
def model() -> UNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNet(TINY, 3, (1, 4, 4))
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return network

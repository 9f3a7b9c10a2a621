"""Networks at the precision they compute in, apart from the weights that are kept."""

import copy

import torch
from torch import nn

from diffrop.config import Precision

LOW_PRECISION_LAYERS = (nn.Conv2d, nn.Linear)
"""GroupNorm and the label embedding stay float32: their gradients are long sums of small terms."""


def working_copy(model: nn.Module, precision: Precision) -> nn.Module:
    """Return a copy of `model`, in its memory layout and mode, that computes at `precision`.

    With bf16 its convolutions and matrix products hold bfloat16 weights: `copy_weights`, once a
    step, takes the place of a cast at every use. The others compute in float32.
    """
    network = copy.deepcopy(model)
    if precision == "bf16":
        for module in network.modules():
            if isinstance(module, LOW_PRECISION_LAYERS):
                module.to(torch.bfloat16)
    return network


@torch.no_grad()
def copy_weights(network: nn.Module, model: nn.Module) -> None:
    """Give `network`, a working copy, the present weights of `model`."""
    torch._foreach_copy_(list(network.parameters()), list(model.parameters()))

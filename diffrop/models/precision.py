"""Networks at the precision they compute in, apart from the weights that are kept."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
    copy_each(list(network.parameters()), list(model.parameters()))


def copy_each(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each tensor onto another of its shape, which may differ in dtype and layout.

    A list of one kind is copied by few kernels on a GPU; one of several kinds by a kernel for each
    tensor, and wrongly before PyTorch's pull request 173531 (2026), which looked at one dtype.
    """
    kinds: dict[tuple[object, ...], tuple[list[Tensor], list[Tensor]]] = {}
    for target, source in zip(targets, sources, strict=True):
        kind = target.dtype, source.dtype, target.stride() == source.stride()
        ours, theirs = kinds.setdefault(kind, ([], []))
        ours.append(target)
        theirs.append(source)
    for ours, theirs in kinds.values():
        torch._foreach_copy_(ours, theirs)

"""The few collectives that losses and the trainer need; each is the identity in a lone process."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of workers of this training, 1 outside a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return this worker's number, 0 outside a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def own_share(tensor: Tensor) -> Tensor:
    """Return this worker's contiguous part of a tensor over the global batch (first dimension)."""
    share = tensor.shape[0] // world_size()
    return tensor[rank() * share : (rank() + 1) * share]


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Return the sum over workers of a tensor without a gradient; the argument is unchanged."""
    if world_size() == 1:
        return tensor
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.share = tensor.shape[0]
        parts = [torch.empty_like(tensor) for _ in range(world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # every worker's use of our part counts
        return own_share(all_reduce_sum(grads[0].contiguous()))


def all_gather(tensor: Tensor) -> Tensor:
    """Concatenate the workers' tensors along the first dimension; gradients flow back to each."""
    if world_size() == 1:
        return tensor
    gathered: Tensor = _AllGather.apply(tensor)
    return gathered


def barrier() -> None:
    """Wait until every worker is here."""
    if world_size() > 1:
        dist.barrier()


def gathered(value: Any) -> list[Any]:
    """Return every worker's value, which pickle can carry, by rank, on every worker."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def from_rank_0(value: Any, device: torch.device) -> Any:
    """Return rank 0's value, which pickle can carry, on every worker."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=device)
    return box[0]

"""What the scripts that train for a table share: a network that samples fast, and its times."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

CHUNK = 125
"""Images that go through the compiled network at a time."""


class Chunked(nn.Module):
    """A compiled network that always sees `CHUNK` images; it can take the weights of any EMA."""

    def __init__(self, network: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Compile a network, which keeps its weights, for images of a shape (C, H, W)."""
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self._compiled = torch.compile(network, dynamic=False)
        labels = torch.zeros(CHUNK, dtype=torch.int64)
        self(torch.zeros(CHUNK, *image_shape), labels, labels)  # before anything is timed

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the predicted noise of a whole number of chunks."""
        parts = zip(*(tensor.split(CHUNK) for tensor in inputs), strict=True)
        return torch.cat([self._compiled(*part) for part in parts])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the seconds of processor time that it took.

    One thread works, so that these are the wall-clock seconds of an idle core.
    """
    start = time.process_time()
    result = work()
    return result, time.process_time() - start

"""Compilation and CUDA graphs acted out on the CPU, for tests of what uses them."""

import functools
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor


class ActedGraph:
    """Does its work again, and writes the result where the first one lay."""

    def __init__(self, work: Callable[[], Tensor], result: Tensor) -> None:
        self.work, self.result = work, result
        self.num_replays = 0

    def replay(self) -> None:
        self.num_replays += 1
        with torch.no_grad():
            self.result.copy_(self.run())

    def run(self) -> Tensor:
        with torch.enable_grad():
            return self.work().detach()


class ActedCapture:
    """Records without a trace: `state` is afterwards what it was, as after a real recording."""

    graph_type = ActedGraph

    def __init__(self, state: Callable[[], dict[str, list[Tensor]]] = dict) -> None:
        self.state = state
        self.graphs: list[ActedGraph] = []
        self.num_warm_ups = self.num_resets = 0

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        self.num_warm_ups += 1
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[ActedGraph, Tensor]:
        tensors = [tensor for group in self.state().values() for tensor in group]
        before = [tensor.detach().clone() for tensor in tensors]
        result = work().detach().clone()
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
        self.graphs.append(self.graph_type(work, result))
        return self.graphs[-1], result

    def reset(self) -> None:
        self.num_resets += 1


def trace_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch.compile do all but the machine code, which takes minutes on a CPU."""
    torch.compiler.reset()
    traced = functools.partial(torch.compile, backend="aot_eager_decomp_partition")
    monkeypatch.setattr(torch, "compile", traced)
    # pytest listens to this logger, for which every graph would be printed many times.
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "handlers", [])

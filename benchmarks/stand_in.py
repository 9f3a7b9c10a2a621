"""A GPU acted out on the CPU: all that runs on a GPU runs, but for CUDA and its machine code.

A CUDA graph is acted by doing its work again; torch.compile traces and decomposes, and generates
no code. `BENCHMARK_DEVICE=stand-in` makes the benchmarks take it for a GPU, with small sizes.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.aims import STAND_IN
from benchmarks.gpu import Gpu
from diffrop.cuda_graph import Capture
from diffrop.training import trainer
from diffrop.training.state import TrainingState

State = dict[str, list[Tensor]]
COMPILER = "aot_eager_decomp_partition"


class ActedGraph:
    """Does its work again, and writes the result where the first one lay."""

    def __init__(self, work: Callable[[], Tensor], result: Tensor) -> None:
        self.work, self.result = work, result
        self.num_replays = 0

    def replay(self) -> None:
        """Do the work."""
        self.num_replays += 1
        with torch.no_grad():
            self.result.copy_(self.run())

    def run(self) -> Tensor:
        """Return the result of doing the work."""
        with torch.enable_grad():
            return self.work().detach()


class ActedCapture:
    """Records without a trace: `state` is afterwards what it was, as after a real recording."""

    graph_type = ActedGraph

    def __init__(self, state: Callable[[], State] = dict) -> None:
        self.state = state
        self.graphs: list[ActedGraph] = []
        self.num_warm_ups = self.num_resets = 0

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """Do the work."""
        self.num_warm_ups += 1
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[ActedGraph, Tensor]:
        """Return the work as a graph, and its result."""
        tensors = [tensor for group in self.state().values() for tensor in group]
        before = [tensor.detach().clone() for tensor in tensors]
        result = work().detach().clone()
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
        self.graphs.append(self.graph_type(work, result))
        return self.graphs[-1], result

    def reset(self) -> None:
        """Count it."""
        self.num_resets += 1


class StandIn(Gpu):
    """The CPU in the place of a GPU, for this whole process."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        """Let trainings in this process take the CPU for a GPU."""
        torch.compile = functools.partial(torch.compile, backend=COMPILER)
        TrainingState.on_gpu = True  # type: ignore[assignment, method-assign]
        vars(trainer)["CudaCapture"] = lambda device: ActedCapture()

    @property
    def name(self) -> str:
        """What results say of it, which are none of a GPU."""
        return STAND_IN

    def synchronise(self) -> None:
        """Do nothing: a CPU's work is done when its call returns."""

    def forget_peak(self) -> float:
        """Return nothing held."""
        return 0.0

    def peak_mib(self) -> float:
        """Return a made number."""
        return 1.0

    def memory_mib(self) -> float:
        """Return a made number."""
        return 1000.0

    def keep_to(self, share: float) -> None:
        """Do nothing."""

    def capture(self) -> Capture:
        """Return what acts out recordings."""
        return ActedCapture()  # type: ignore[return-value]

    def watch(self) -> list[str]:
        """Return a command that prints a made utilisation, as nvidia-smi would."""
        return ["sh", "-c", "while echo 50; do sleep 0.2; done"]

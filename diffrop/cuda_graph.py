"""Recording work on a GPU once and replaying it as a whole: CUDA graphs."""

import contextlib
import gc
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

Result = TypeVar("Result")


class Graph(Protocol):
    """Recorded work: replaying reads and writes the memory that it was recorded with."""

    def replay(self) -> None:
        """Do the work again."""


class Capture(Protocol):
    """Records work without doing it."""

    def warm_up(self, work: Callable[[], Result]) -> Result:
        """Do work in the way in which it will be recorded."""

    def record(self, work: Callable[[], Result]) -> tuple[Graph, Result]:
        """Return the recorded work and its results, whose memory every replay fills."""

    def reset(self) -> None:
        """Start over: no earlier recording will be replayed."""


class CudaCapture:
    """Records CUDA graphs that share one stream and one pool of memory.

    Graphs of one pool must be replayed one after another, and what one returns is overwritten by
    the next. Random numbers drawn from the default generator depend on its seed at the replay.
    """

    def __init__(self, device: torch.device) -> None:
        """Prepare for `device`, a CUDA device."""
        self._device = device
        self.stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], Result]) -> Result:
        """Do work on the stream that will record it, as CUDA graphs ask for."""
        current = torch.cuda.current_stream(self._device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = work()
        current.wait_stream(self.stream)
        return result

    def record(self, work: Callable[[], Result]) -> tuple[Graph, Result]:
        """Record as `Capture` says; a recording that breaks off leaves the device usable."""
        gc.collect()
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()  # what warm-ups held would lie beside the graph's own memory
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self.stream):
                result = work()
        except Exception:
            with contextlib.suppress(RuntimeError):  # the capture's error is the one to show
                self._release_generator()
            raise
        return graph, result

    def reset(self) -> None:
        """Take a new pool: one that lost all of its graphs cannot be recorded into again."""
        self._pool = torch.cuda.graph_pool_handle()

    def _release_generator(self) -> None:
        """Free the default generator, which waits for the end of a recording that broke off."""
        index = self._device.index
        index = torch.cuda.current_device() if index is None else index
        default = torch.cuda.default_generators[index]
        default.graphsafe_set_state(default.clone_state())

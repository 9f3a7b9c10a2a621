"""The denoising network at a GPU's speed: low precision, compiled, replayed as CUDA graphs."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffrop.config import Precision
from diffrop.cuda_graph import Capture, Graph
from diffrop.memory import is_out_of_memory
from diffrop.models.compiled import DisagreementError, Network, cause_of, compile_checked
from diffrop.models.precision import copy_weights, working_copy

NUM_WARM_UP_RUNS = 2
REPLAY_TOLERANCE = 1e-2
"""Between the outputs of a replay and of the same network before it was recorded, relative L2."""


@dataclass(frozen=True)
class _Recorded:
    graph: Graph
    inputs: tuple[Tensor, Tensor, Tensor]
    output: Tensor


class FastDenoiser:
    """Evaluates any model of one shape; what it compiles and records serves all of their weights.

    It works on batches of one or two times a batch size (guidance takes two), to which smaller
    ones are filled up: images do not influence each other. Its first evaluation at each size is
    checked against the eager float32 model; what fails falls back with one warning.
    """

    def __init__(
        self, model: nn.Module, precision: Precision, batch_size: int, capture: Capture | None
    ) -> None:
        """Prepare for models like `model`; nothing is compiled before it is needed.

        Args:
            model: shape and device of what will be evaluated.
            precision: bf16 computes with bfloat16 weights, the others in float32.
            batch_size: images at a time.
            capture: records evaluations; None runs the compiled network.
        """
        self._network = working_copy(model, precision).eval().requires_grad_(False)
        self._sizes = (batch_size, 2 * batch_size)
        self._capture = capture
        self.compiles = True
        """Whether compilation is tried: where it failed once, it would only warn again."""
        self._compiled: dict[int, Network] = {}
        self._recorded: dict[int, _Recorded] = {}
        self._loaded: nn.Module | None = None

    def of(self, model: nn.Module) -> nn.Module:
        """Return a network that evaluates `model`, with its weights as they are now."""
        self._loaded = None
        return _Evaluated(self, model)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the predicted noise, float32; arguments as in `UNet.forward`."""
        if self._loaded is not model:
            copy_weights(self._network, model)
            self._loaded = model
        count = len(x_t)
        size = next((size for size in self._sizes if size >= count), None)
        if size is None:
            return self._network(x_t, t, labels).float()
        inputs = (x_t, t, labels)
        if size not in self._compiled:
            self._prepare(size, model, _filled(inputs, size))
        recorded = self._recorded.get(size)
        if recorded is None:
            return self._compiled[size](*_filled(inputs, size))[:count].float()
        for ours, theirs in zip(recorded.inputs, inputs, strict=True):
            ours[:count].copy_(theirs)
        recorded.graph.replay()
        # A copy, for the next replay overwrites it.
        return recorded.output[:count].to(torch.float32, copy=True)

    def _prepare(self, size: int, model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Compile and record evaluations of a size, where that works."""
        self._compiled[size] = self._network
        if self.compiles:
            self._compiled[size] = compile_checked(self._network, model, inputs)
            self.compiles = self._compiled[size] is not self._network
        self._record(size, inputs)

    def _record(self, size: int, inputs: tuple[Tensor, ...]) -> None:
        """Record an evaluation at a size, if evaluations can be recorded."""
        if self._capture is None:
            return
        network = self._compiled[size]
        x_t, t, labels = (tensor.clone() for tensor in inputs)

        def work() -> Tensor:
            return network(x_t, t, labels)

        try:
            for _ in range(NUM_WARM_UP_RUNS):
                expected = self._capture.warm_up(work).float()
            graph, output = self._capture.record(work)
            graph.replay()
            distance = (output.float() - expected).norm() / expected.norm()
            if not distance <= REPLAY_TOLERANCE:
                raise DisagreementError(f"a replay is {distance.item():.2g} from the plain output")
        except Exception as error:  # whatever stops a recording must not stop a study
            if is_out_of_memory(error):
                raise
            self._capture = None
            cause = cause_of(error)
            message = f"CUDA graph capture failed, sampling continues without it: {cause}"
            warnings.warn(message, stacklevel=2)
            return
        self._recorded[size] = _Recorded(graph, (x_t, t, labels), output)


class _Evaluated(nn.Module):
    """A model as a `FastDenoiser` evaluates it; it owns no weights."""

    def __init__(self, denoiser: FastDenoiser, model: nn.Module) -> None:
        super().__init__()
        self._evaluate = denoiser.evaluate
        self._of = (model,)  # in a tuple, so that it is no submodule

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return the predicted noise, float32; arguments as in `UNet.forward`."""
        return self._evaluate(*self._of, x_t, t, labels)


def _filled(tensors: tuple[Tensor, ...], size: int) -> tuple[Tensor, ...]:
    """(B, ...) to (size, ...) each, with zeros."""
    missing = size - len(tensors[0])
    if not missing:
        return tensors
    return tuple(torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) for x in tensors)

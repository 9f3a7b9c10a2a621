"""Training steps as CUDA graphs: warmed up, recorded, checked once, then replayed."""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffrop.cuda_graph import Capture, Graph
from diffrop.models.compiled import DisagreementError, cause_of

NUM_WARM_UP_STEPS = 3
"""Steps that a training takes before one is recorded: compilers and caches must be warm, and the
optimiser's state must exist."""
MEASURED_TOLERANCE = 1e-2
CHANGE_TOLERANCE = 0.3
"""Between a recorded and a plain step of the same batch: relative, of each measured value, and
relative L2, of what the step changed. Adam's first steps turn rounding of tiny gradients into
whole steps of those weights; a part of the step that was not recorded is off by 1."""

Batch = Sequence[Tensor]
Measured = dict[str, Tensor]
Work = Callable[[Batch], Measured]
State = dict[str, list[Tensor]]


@dataclass(frozen=True)
class _Recorded:
    graph: Graph
    inputs: list[Tensor]
    names: list[str]
    values: Tensor


class CapturedSteps:
    """Runs the parts of a step; on a GPU from recordings, elsewhere and after a failure plainly.

    A part must be a function of its batch and of tensors that stay where they are, and may draw
    from the default generator only.
    """

    def __init__(self, capture: Capture | None, state: Callable[[], State]) -> None:
        """Record with `capture`, or never if it is None.

        Args:
            capture: records work.
            state: everything that parts of a step change and that later parts depend on, in
                groups of like tensors.
        """
        self._capture = capture
        self._state = state
        self._recorded: dict[tuple[object, ...], _Recorded] = {}
        self._num_warm_up_steps = 0

    def reset(self) -> None:
        """Record anew, because tensors of the state were replaced."""
        self._recorded.clear()
        self._num_warm_up_steps = 0
        if self._capture is not None:
            self._capture.reset()

    def run(self, key: tuple[object, ...], work: Work, batch: Batch, seed: int) -> Measured:
        """Do one part of a step.

        Args:
            key: of the part, and of every choice its code makes that no tensor makes.
            work: does it.
            batch: its inputs; their shapes are those of the key's other batches.
            seed: of the default generator, for this part.
        """
        if self._capture is None:
            return _seeded(work, batch, seed)
        recorded = self._recorded.get(key)
        if recorded is not None:
            return _replay(recorded, batch, seed)
        plain = functools.partial(_seeded, work, batch, seed)
        if self._num_warm_up_steps < NUM_WARM_UP_STEPS:
            self._num_warm_up_steps += 1
            return self._capture.warm_up(plain)
        return self._record(self._capture, key, work, batch, seed)

    def _record(
        self, capture: Capture, key: tuple[object, ...], work: Work, batch: Batch, seed: int
    ) -> Measured:
        """Record a part, and do it both ways: the state afterwards is that of the plain one."""
        inputs = [tensor.clone(memory_format=torch.contiguous_format) for tensor in batch]
        before = _clones(self._state())
        expected = capture.warm_up(functools.partial(_seeded, work, inputs, seed))
        after = _clones(self._state())
        try:
            graph, values = capture.record(lambda: _packed(work(inputs)))
            recorded = _Recorded(graph, inputs, list(expected), values)
            _copy(self._state(), before)
            found = _replay(recorded, batch, seed)
            _check(expected, found, before, after, self._state())
            self._recorded[key] = recorded
        except Exception as error:  # whatever stops a recording must not stop a training
            self._capture = None
            self._recorded.clear()
            cause = cause_of(error)
            message = f"CUDA graph capture failed, steps run one operation at a time: {cause}"
            warnings.warn(message, stacklevel=2)
        _copy(self._state(), after)
        return expected


def _seeded(work: Work, batch: Batch, seed: int) -> Measured:
    torch.manual_seed(seed)
    return work(batch)


def _replay(recorded: _Recorded, batch: Batch, seed: int) -> Measured:
    for ours, theirs in zip(recorded.inputs, batch, strict=True):
        ours.copy_(theirs)
    torch.manual_seed(seed)
    recorded.graph.replay()
    return dict(zip(recorded.names, recorded.values.clone().unbind(), strict=True))


def _packed(measured: Measured) -> Tensor:
    return torch.stack([value.float() for value in measured.values()])


def _clones(state: State) -> State:
    return {name: [tensor.detach().clone() for tensor in group] for name, group in state.items()}


@torch.no_grad()
def _copy(ours: State, theirs: State) -> None:
    for name, group in ours.items():
        for tensor, other in zip(group, theirs[name], strict=True):
            tensor.copy_(other)


@torch.no_grad()
def _check(expected: Measured, found: Measured, before: State, after: State, now: State) -> None:
    """Raise DisagreementError unless a replay measured and changed what the plain step did."""
    for name, value in expected.items():
        plain, replayed = value.float().item(), found[name].item()
        if not math.isclose(plain, replayed, rel_tol=MEASURED_TOLERANCE, abs_tol=1e-6):
            raise DisagreementError(f"{name} is {replayed:.6g} replayed, {plain:.6g} plainly")
    for name, group in after.items():
        distance = _distance(now[name], group)
        change = _distance(_without_nan(group), _without_nan(before[name]))
        if not distance <= CHANGE_TOLERANCE * change:
            raise DisagreementError(
                f"a replay ends {distance:.3g} from the plain step in {name}, which that moves by "
                f"{change:.3g}"
            )


def _without_nan(group: Sequence[Tensor]) -> list[Tensor]:
    """What a step fills for the first time, such as running quantiles, was NaN before."""
    return [tensor.nan_to_num(nan=0.0) for tensor in group]


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """The L2 distance of two lists of tensors; what is NaN in both is no distance."""
    total = torch.zeros((), dtype=torch.float64)
    for x, y in zip(a, b, strict=True):
        difference = torch.where(x.isnan() & y.isnan(), 0, x - y)
        total += difference.double().square().sum().cpu()
    return math.sqrt(total.item())

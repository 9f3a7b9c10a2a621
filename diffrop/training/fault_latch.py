"""The first faulty step of a training: noted on the device, asked for now and then."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffrop import distributed
from diffrop.errors import NonFiniteError


@dataclass(frozen=True)
class Fault:
    """A step whose loss or gradient was NaN or infinite."""

    images_seen: int
    """Before the step."""
    ddpm: float
    total: float
    gradient_norm: float

    def error(self, batch_size: int) -> NonFiniteError:
        """Return the exception that names the step and its values."""
        return NonFiniteError(
            f"non-finite loss or gradient at images_seen {self.images_seen} (step "
            f"{self.images_seen // batch_size}): loss/ddpm {self.ddpm:.4g}, total "
            f"{self.total:.4g}, gradient norm {self.gradient_norm:.4g}"
        )


class FaultLatch:
    """Remembers the first non-finite step, in the device's memory, where a captured step writes.

    From that step on `faulty` is 1, and whatever reads it leaves the weights as they are: asking
    late, which spares a GPU the wait at each step, loses no state.
    """

    def __init__(self, device: torch.device) -> None:
        """Begin without a fault; every tensor keeps its place for good."""
        self.faulty = torch.zeros((), device=device)
        """0, or 1 from the first fault on; float32, as fused optimisers take it."""
        self._position = torch.zeros((), dtype=torch.float64, device=device)
        self._first = torch.zeros(4, dtype=torch.float64, device=device)
        """Images seen, DDPM loss, total loss and gradient norm of the first fault."""

    @property
    def tensors(self) -> list[Tensor]:
        """What a step changes here."""
        return [self._first, self.faulty]

    def set_position(self, images_seen: int) -> None:
        """Say which step comes next."""
        self._position.fill_(images_seen)

    @torch.no_grad()
    def note(self, ddpm: Tensor, total: Tensor, gradient_norm: Tensor) -> None:
        """Latch if a loss or the gradient of this step is non-finite on any worker.

        Args:
            ddpm: this worker's noise regression, a scalar.
            total: its whole loss, a scalar.
            gradient_norm: over all workers, a scalar.
        """
        # Summed over workers, so that all of them stop at the same step.
        finite = torch.isfinite(distributed.all_reduce_sum(gradient_norm + total))
        now = torch.stack([self._position, *(x.double() for x in (ddpm, total, gradient_norm))])
        first = ~finite & (self.faulty == 0)
        self._first.copy_(torch.where(first, now, self._first))
        self.faulty.copy_(torch.maximum(self.faulty, (~finite).float()))

    def fault(self) -> Fault | None:
        """Return the first fault if there is one; waits for the device."""
        if not self.faulty.item():
            return None
        images_seen, ddpm, total, gradient_norm = self._first.tolist()
        return Fault(int(images_seen), ddpm, total, gradient_norm)

    def clear(self) -> None:
        """Forget the fault: the weights are those of a checkpoint again."""
        self.faulty.zero_()

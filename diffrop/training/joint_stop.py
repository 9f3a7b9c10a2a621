"""Stopping in the midst of work that the workers of a trial share."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from diffrop import distributed
from diffrop.errors import StopRequested
from diffrop.training.stop import StopNotice

Look = Callable[[], object]
"""Called often within work that can be given up; it raises once the work is to be."""


class _Asked(Exception):  # noqa: N818
    """This worker knows of a request to stop."""


class JointStop:
    """Has all workers of a trial give up a piece of work, or none: a lone one would be waited for.

    A worker leaves the piece as soon as it knows of the request, and the workers compare at the
    piece's end. So a piece holds no collectives, and what follows it may.
    """

    def __init__(self, notice: StopNotice, device: torch.device | None = None) -> None:
        """Look for the request where `notice` does.

        Args:
            notice: of the study, its driver and the workers' nodes.
            device: of the comparison; the CPU by default.
        """
        self._notice, self._device = notice, device or torch.device("cpu")

    @contextlib.contextmanager
    def piece(self) -> Iterator[Look]:
        """Run a piece of work, which is handed the look.

        Raises:
            StopRequested: on every worker, if any of them was asked to stop.
        """
        asked = False
        try:
            yield self._look
        except _Asked:
            asked = True
        votes = torch.tensor([float(asked)], device=self._device)
        if distributed.all_reduce_sum(votes) > 0:
            raise StopRequested("stopped as asked, with a checkpoint to go on from")

    def _look(self) -> None:
        if self._notice.requested():
            raise _Asked


NEVER = JointStop(StopNotice(None))
"""For work that nobody asks to stop."""

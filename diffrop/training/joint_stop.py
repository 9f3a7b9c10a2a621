"""Stopping in the midst of work that the workers of a trial share."""

import contextlib
from collections.abc import Callable, Iterator

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

    def __init__(self, notice: StopNotice, also: Look = lambda: None) -> None:
        """Look for the request where `notice` does; each look calls `also`, too."""
        self._notice, self._also = notice, also

    def watched(self, also: Look) -> "JointStop":
        """Return the same, with a call of `also` at each look."""
        return JointStop(self._notice, also)

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
        if any(distributed.gathered(asked)):
            raise StopRequested("stopped as asked, with a checkpoint to go on from")

    def _look(self) -> None:
        if self._notice.requested():
            raise _Asked
        self._also()


NEVER = JointStop(StopNotice(None))
"""For work that nobody asks to stop."""

"""What a command is doing that takes time, told to whoever watches it."""

import itertools
import math
from collections.abc import Callable

Tell = Callable[[str, float | None], object]
"""Takes what is being done, in words, and how far it is, 0 to 1; None where that is unknown.

What stands before a colon names it: details after the colon change while it goes on."""


def untold(what: str, share: float | None) -> None:
    """Tell nobody."""


def counted(tell: Tell, what: str, total: int) -> Callable[[], None]:
    """Return what is called before each of so many pieces of work, and tells how far it is."""
    begun = itertools.count()

    def look() -> None:
        tell(what, min(1.0, next(begun) / max(1, total)))

    return look


def is_same(what: str, other: str) -> bool:
    """Return whether two texts are about one activity."""
    return what.partition(":")[0] == other.partition(":")[0]


def activity_text(what: str, share: float | None, seconds: float) -> str:
    """Return what is being done in one line, with how far it is and for how long.

    Args:
        what: in words.
        share: 0 to 1, or None.
        seconds: since it began.
    """
    far = "" if share is None else f" {math.floor(100 * share)}%"
    return f"{what}{far}, {time_text(seconds)}"


def time_text(seconds: float) -> str:
    """Return a length of time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

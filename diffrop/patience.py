"""Waiting for what is away for a moment: a study's database, or room on a disk."""

import contextlib
import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from diffrop.errors import OutageError

Found = TypeVar("Found")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
POLL_S = 0.1
"""A pause looks so often for a request to stop."""
SAY_AFTER_S = 2.0
"""A shorter outage is not worth a sentence."""
STOPPING_S = 3.0
"""Of an outage that is waited for once somebody asked to stop."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Patience:
    """Repeats what failed for an outage, with growing pauses, up to a limit.

    An outage begins with the first failure and ends with the next success, whichever action it
    is of. Past its limit each action is tried once more and then fails at once.
    """

    limit_s: float
    """Seconds that an outage may last."""
    say: Callable[[str], None] = lambda sentence: None
    """Told once that an outage is waited for, and once that it is over."""
    stopped: Callable[[], bool] = lambda: False
    """Whether somebody asked to stop: only a few seconds are waited then."""
    give_up: Callable[[str], None] = lambda sentence: None
    """Told once, past the limit, the message of the OutageError that is raised."""
    mark: Path | None = None
    """An empty file that lies there while an outage is waited for, for other processes to see."""
    _since: float | None = field(default=None, init=False)
    """When the present outage began."""
    _said: bool = field(default=False, init=False)
    _given_up: bool = field(default=False, init=False)

    def retry(
        self, action: Callable[[], Found], outage: Callable[[Exception], str | None]
    ) -> Found:
        """Return what an action returns, once it succeeds.

        Args:
            action: may be repeated after a failure.
            outage: says of an exception what is away ("the disk of runs is full"), None if that
                is no outage; the exception is then raised.

        Raises:
            OutageError: it lasted longer than the limit, or somebody asked to stop.
        """
        pause = FIRST_PAUSE_S
        while True:
            try:
                found = action()
            except OutageError:
                raise  # somebody waited already
            except Exception as error:
                what = outage(error)
                if what is None:
                    raise
                self._check(what, error)
                self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._end()
                return found

    def _check(self, what: str, error: Exception) -> None:
        """Note an outage, say so once, and raise OutageError if it is not waited for."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        lasted = now - self._since
        limit = min(self.limit_s, STOPPING_S) if self.stopped() else self.limit_s
        if lasted >= limit:
            self._set_mark(False)
            sentence = (
                f"{what}, for {lasted:.0f} s so far. What was trained is saved; once it is over, "
                "--resume goes on"
            )
            if not self._given_up:
                self._given_up = True
                self.give_up(sentence)
            raise OutageError(sentence) from error
        if lasted >= SAY_AFTER_S and not self._said:
            self._said = True
            self._set_mark(True)
            self.say(f"Waiting, at most {self.limit_s:g} s: {what}.")

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while True:
            time.sleep(POLL_S)
            if self.stopped() or time.monotonic() >= until:
                return

    def _set_mark(self, there: bool) -> None:
        if self.mark is not None:
            with contextlib.suppress(OSError):
                self.mark.touch() if there else self.mark.unlink(missing_ok=True)

    def _end(self) -> None:
        if self._said and self._since is not None:
            self._set_mark(False)
            self.say(f"Going on after {time.monotonic() - self._since:.0f} s.")
        self._since, self._said, self._given_up = None, False, False


def is_full_disk(error: BaseException | None) -> bool:
    """Whether a write failed for want of room, which may be the cause of the error's cause.

    Libraries that write by themselves keep the number of the error in their text alone.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        if any(f"os error {number}" in str(error) for number in NO_ROOM):
            return True
        error = error.__cause__
    return False


def full_disk(folder: Path) -> Callable[[Exception], str | None]:
    """Return what tells an outage of the disk of a folder; see `Patience.retry`."""
    sentence = f"there is no room on the disk of {folder}"
    return lambda error: sentence if is_full_disk(error) else None

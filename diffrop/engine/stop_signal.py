"""The request to stop a launch: by a signal, by a file, or because of a fault."""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from diffrop.signals import AGAIN_AFTER_S, Interruption, answered
from diffrop.storage import RemoteMirror
from diffrop.training.stop import stop_file


class StopSignal:
    """The first signal asks the trials to save and stop, and says so; another ends at once."""

    def __init__(
        self,
        directory: Path,
        driver: str = "",
        mirror: RemoteMirror | None = None,
        say: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        """Ask a driver's trials to stop by a file, here or in a remote storage.

        Args:
            directory: the folder in which trials look for the file.
            driver: whose trials they are; all, if none is named.
            mirror: the remote storage, where other nodes look.
            say: shows a sentence to the user.
        """
        self._file, self._mirror, self._say = stop_file(directory, driver), mirror, say
        self._everybodys = stop_file(directory)
        self._requested, self._patient, self._signalled_at = False, True, -math.inf
        self._lost: bool | None = None
        """Whether an interruption that is to come again is that of a user who insists."""
        self.waits_for = "what runs saves and stops at its next step"
        """What happens after a request, as the user is told."""

    @property
    def requested(self) -> bool:
        """Whether the study is to stop: see `ask`; or a file `stop` was made by hand."""
        if not self._requested and self._everybodys.exists():
            self._requested = True
            self._tell(f"the file {self._everybodys}")
        return self._requested

    def ask(self, why: str) -> None:
        """Ask the trials to save and stop, and tell the user at once.

        Args:
            why: what asks, such as SIGTERM, as the subject of a sentence.
        """
        if self._requested:
            return
        self._requested = True
        with contextlib.suppress(OSError):  # a folder that is not there has no trials
            self._file.touch()
        self._tell(why)
        if self._mirror is not None:  # in a thread: the network may take its time
            push = threading.Thread(target=self._mirror.push, args=(self._file,), daemon=True)
            push.start()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Answer signals; after a stop the file is taken away again."""
        try:
            with answered(self._answer):
                yield
        finally:
            self._file.unlink(missing_ok=True)
            if self._mirror is not None:
                self._mirror.delete(self._file)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Around what can be given up: let the first signal, too, raise KeyboardInterrupt."""
        self._patient = False
        try:
            yield
        finally:
            self._patient = True

    def _answer(self, number: int, frame: FrameType | None) -> None:
        now, name = time.monotonic(), signal.Signals(number).name
        if now - self._signalled_at < AGAIN_AFTER_S:
            return
        self._signalled_at, before = now, self._requested
        self.ask(name)
        lost, self._lost = self._lost, None
        # A terminal that is closed may say so several times; it is not a user who insists.
        insists = before and number != signal.SIGHUP if lost is None else lost
        gives_up = not self._patient and not (before and lost is None)
        if insists or gives_up:
            self._interrupt(number, insists)

    def _interrupt(self, number: int, insists: bool) -> None:
        """Raise Interruption; if it is lost, the same signal is no second one of the user's."""

        def note() -> bool:
            self._lost = insists
            return True

        raise Interruption(number, signal.Signals(number).name, note)

    def _tell(self, why: str) -> None:
        """Tell the user, in a thread: a signal may have come in the midst of a print."""
        sentence = f"{why} asks to stop"
        if self._patient:
            sentence += f": {self.waits_for}. Another signal ends at once"
        threading.Thread(target=self._say, args=(f"{sentence}.",), daemon=True).start()

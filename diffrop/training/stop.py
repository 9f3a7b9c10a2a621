"""The request to stop: a file that running trainings look for."""

import socket
import time
from collections.abc import Sequence
from pathlib import Path

from diffrop.storage import RemoteMirror

LOCAL_S = 1.0
REMOTE_S = 10.0


class StopNotice:
    """Tells a training whether its study, its driver, or the node it runs on, is to stop.

    The file `stop` in the study's folder stops all of it, `stop.DRIVER` what one driver runs, and
    `stop-HOSTNAME` what runs on one node, fellow workers on other nodes included. A file is looked
    for once a second at most, and every ten in a remote storage.
    """

    def __init__(
        self,
        directory: Path | None,
        mirror: RemoteMirror | None = None,
        driver: str = "",
        nodes: Sequence[str] = (),
    ) -> None:
        """Watch for requests.

        Args:
            directory: the study's folder; None is never stopped.
            mirror: its remote copy.
            driver: whose requests count, beside those to all.
            nodes: on which the workers of the trial run; this one by default.
        """
        self._paths: list[Path] = []
        if directory is not None:
            names = dict.fromkeys(nodes or [socket.gethostname()])
            self._paths = [*{stop_file(directory), stop_file(directory, driver)}]
            self._paths += [directory / f"stop-{name}" for name in names]
        self._mirror = mirror
        self._looked = self._looked_remotely = -REMOTE_S
        self._found = False

    def requested(self) -> bool:
        """Return whether to stop."""
        now = time.monotonic()
        if not self._found and now - self._looked >= LOCAL_S:
            self._looked = now
            self._found = any(path.exists() for path in self._paths) or self._is_remote(now)
        return self._found

    def _is_remote(self, now: float) -> bool:
        if self._mirror is None or now - self._looked_remotely < REMOTE_S:
            return False
        self._looked_remotely = now
        return any(self._mirror.exists(path) for path in self._paths)


def stop_file(directory: Path, driver: str = "") -> Path:
    """Return the file that stops the trainings of a driver, or of all if none is named."""
    return directory / (f"stop.{driver}" if driver else "stop")


def withdraw_stop(directory: Path, mirror: RemoteMirror | None = None) -> None:
    """Remove every request of a study's drivers, or to all; a node's is that node's affair."""
    names = {path.name for path in directory.glob("stop*")}
    if mirror is not None:
        names |= set(mirror.names(directory))
    for path in (directory / name for name in names):
        if path.name == "stop" or path.name.startswith("stop."):
            path.unlink(missing_ok=True)
            if mirror is not None:
                mirror.delete(path)

"""The processes that drive a study: one by default, several that share a database server."""

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from diffrop.errors import StudyError
from diffrop.storage import try_lock

HEARTBEAT_S = 5.0


GONE_AFTER_S = 60.0


class Drivers:
    """The drivers of a study, each a file in its folder that is touched while it lives."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`, which need not exist yet."""
        self._directory = directory
        self.own = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._left = threading.Event()

    def names(self) -> list[str]:
        """Return every driver that has not left, alive or gone."""
        return sorted(path.name for path in self._directory.glob("*"))

    def alive(self, name: str) -> bool:
        """Return whether a driver has given a heartbeat lately."""
        if name == self.own:
            return True
        if not name or _has_died_here(name):
            return False
        with contextlib.suppress(OSError):
            return time.time() - (self._directory / name).stat().st_mtime < GONE_AFTER_S
        return False

    def others(self) -> list[str]:
        """Return the other drivers that are alive."""
        return [name for name in self.names() if name != self.own and self.alive(name)]

    @contextlib.contextmanager
    def join(self, exclusive: bool) -> Iterator[None]:
        """Be a driver of the study; released even if this process is killed.

        Args:
            exclusive: whether there may be no other, as a SQLite database demands.

        Raises:
            StudyError: another driver is alive and there may be none, or the folder is full.
        """
        with contextlib.ExitStack() as stack:
            if exclusive:
                stack.enter_context(hold(self._directory.parent))
            for name in self.names():
                if exclusive or not self.alive(name):  # who held the lock before is gone
                    (self._directory / name).unlink(missing_ok=True)
            try:
                self._directory.mkdir(exist_ok=True)
                self.heartbeat.touch()
            except OSError as error:
                raise StudyError(f"cannot write {self.heartbeat} ({error.strerror})") from error
            with self.beating():
                yield

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Touch this process's file, which exists, now and then; remove it at the end."""
        self._left.clear()
        self._heart = threading.Thread(target=self._keep_beating, daemon=True)
        self._heart.start()
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> bool:
        """Leave, at the end of `join` if not before; return whether no other is alive.

        Of drivers that leave at once, one at least learns that it was the last.
        """
        self._left.set()
        self._heart.join()
        self.heartbeat.unlink(missing_ok=True)
        return not self.others()

    @property
    def heartbeat(self) -> Path:
        """The file of this process."""
        return self._directory / self.own

    def _keep_beating(self) -> None:
        while not self._left.wait(HEARTBEAT_S):
            with contextlib.suppress(OSError):  # a full disk must not end the study
                self.heartbeat.touch()


def _has_died_here(name: str) -> bool:
    """Whether a driver was a process of this machine that is no more; see `Drivers.own`."""
    host, _, rest = name.rpartition("-")[0].rpartition("-")
    runs = rest.isdecimal() and psutil.pid_exists(int(rest))  # macOS has no /proc
    return host == socket.gethostname() and not runs


@contextlib.contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Hold a study's or training's folder for this process; released even if it is killed.

    Raises:
        StudyError: another process holds it.
    """
    with try_lock(directory / "study.lock") as held:
        if not held:
            raise StudyError(
                f"{directory.name!r} is running in another process. To fix: wait until it ends, "
                "or stop it"
            )
        yield

"""A study that is being prepared: its folder is there at once, and says what is being done.

Until it has a configuration, the folder holds nothing but this, and goes again if the preparation
ends without a study.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass

from diffrop.activity import activity_text, is_same
from diffrop.engine.drivers import Drivers
from diffrop.errors import StudyError
from diffrop.record.json_files import parse_record, write_passing
from diffrop.record.study_folder import StudyFolder

NOTED_EVERY_S = 2.0


@dataclass(frozen=True)
class Activity:
    """What a process that prepares a study is doing."""

    what: str
    """In words."""
    share: float | None
    """How far it is, 0 to 1; None where that is unknown."""
    since: float
    """When it began, in seconds since 1970."""

    @property
    def text(self) -> str:
        """In one line."""
        return activity_text(self.what, self.share, max(0.0, time.time() - self.since))


class Preparing:
    """The processes that prepare a study, and this one among them."""

    def __init__(self, folder: StudyFolder) -> None:
        """Look at a study's folder; nothing is touched."""
        self._folder, self._processes = folder, Drivers(folder.preparing)
        self._noted = Activity("", None, 0.0)
        self._noted_at = 0.0

    def others(self) -> list[str]:
        """Return the other processes that prepare the study before it has a configuration."""
        return [] if self._folder.config.exists() else self._processes.others()

    @property
    def is_first(self) -> bool:
        """Whether nothing at all is in the study's place."""
        return not os.path.lexists(self._folder.path)

    @property
    def is_unclaimed(self) -> bool:
        """Whether the folder holds a preparation alone that nobody else is at.

        It is this process's, or what one that was killed has left.
        """
        begun = self._folder.preparing.exists() and self._holds_no_study
        return begun and not self._processes.others()

    @property
    def _holds_no_study(self) -> bool:
        """Whether no study has begun in the folder; one whose configuration is lost has."""
        folder = self._folder
        return not (folder.config.exists() or folder.database.exists() or folder.trials())

    def activities(self) -> list[Activity]:
        """Return what the processes that are alive are doing."""
        found = []
        for name in self._processes.names():
            if self._processes.alive(name):
                with contextlib.suppress(ValueError):  # it has not said anything yet, or has ended
                    found.append(parse_record(self._folder.preparing / name, Activity))
        return found

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Make the study's folder, if it is new, and be seen to prepare; afterwards, no more.

        The folder is removed at the end if it still has no configuration.

        Raises:
            StudyError: the folder cannot be written, or another process made it just now.
        """
        folder = self._folder
        if self.is_unclaimed:
            shutil.rmtree(folder.path)
        made = [path for path in folder.path.parents if not path.exists()]
        try:
            if not folder.config.exists():
                folder.path.mkdir(parents=True)
            folder.preparing.mkdir(exist_ok=True)
            self._processes.heartbeat.touch()
        except OSError as error:
            raise StudyError(
                f"cannot write {folder.path} ({error.strerror}); allowed: a --runs-root in which "
                "you may create folders"
            ) from error
        try:
            with self._processes.beating():
                yield
        finally:
            if self._holds_no_study:
                shutil.rmtree(folder.path, ignore_errors=True)
            for path in made:  # unless something else, such as a cache, was put there
                with contextlib.suppress(OSError):
                    path.rmdir()
            with contextlib.suppress(OSError):  # another process prepares it, too
                folder.preparing.rmdir()

    def note(self, what: str, share: float | None) -> None:
        """Write down what is being done; nothing while this process does not prepare."""
        now, path, same = time.time(), self._processes.heartbeat, is_same(self._noted.what, what)
        if (same and now - self._noted_at < NOTED_EVERY_S) or not path.exists():
            return
        self._noted = Activity(what, share, self._noted.since if same else now)
        self._noted_at = now
        with contextlib.suppress(OSError):  # a full disk costs the note alone
            write_passing(path, self._noted)

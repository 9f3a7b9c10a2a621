"""A disk that is full at times, without one."""

import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class FullDisk:
    """Lets files neither be put into place nor appended to, as a plan says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan: Iterator[bool] = itertools.repeat(False)
        """Whether there is no room, for each write from now on."""
        self.num_refused = 0
        replace, open_file = os.replace, Path.open

        def put(source: Any, target: Any, **options: Any) -> None:
            self._check()
            replace(source, target, **options)

        def open_if_room(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if mode.startswith("a"):
                self._check()
            return open_file(path, mode, *rest, **options)

        monkeypatch.setattr(os, "replace", put)
        monkeypatch.setattr(Path, "open", open_if_room)

    def _check(self) -> None:
        if next(self.plan):
            self.num_refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """A disk with room; pauses are short."""
    monkeypatch.setattr("diffrop.patience.POLL_S", 0.0)
    monkeypatch.setattr("diffrop.patience.FIRST_PAUSE_S", 0.0)
    return FullDisk(monkeypatch)

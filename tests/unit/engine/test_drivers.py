"""Who drives a study."""

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from diffrop.engine.drivers import GONE_AFTER_S, Drivers
from diffrop.errors import StudyError


def folder(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    return tmp_path / "study" / "drivers"


def test_two_drivers_of_a_shared_study_see_each_other(tmp_path: Path) -> None:
    first, second = Drivers(folder(tmp_path)), Drivers(tmp_path / "study" / "drivers")
    with first.join(exclusive=False):
        assert first.others() == []
        with second.join(exclusive=False):
            assert first.others() == [second.own] and second.others() == [first.own]
            assert second.alive(first.own)
        assert not first.alive(second.own)
    assert first.names() == []


def test_second_driver_of_an_exclusive_study_is_refused(tmp_path: Path) -> None:
    first, second = Drivers(folder(tmp_path)), Drivers(tmp_path / "study" / "drivers")
    with first.join(exclusive=True), pytest.raises(StudyError, match="running in another"):
        second.join(exclusive=True).__enter__()
    with second.join(exclusive=True):
        assert second.names() == [second.own]


def test_driver_learns_whether_it_is_the_last_to_leave(tmp_path: Path) -> None:
    first, second = Drivers(folder(tmp_path)), Drivers(tmp_path / "study" / "drivers")
    with first.join(exclusive=False), second.join(exclusive=False):
        assert not first.leave()
        assert second.others() == [] and second.leave()


def test_process_of_this_machine_is_known_to_be_gone_before_its_heartbeat_is_old(
    tmp_path: Path,
) -> None:
    drivers = Drivers(folder(tmp_path))
    drivers._directory.mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    names = [f"{socket.gethostname()}-{pid}-abc" for pid in (ended.pid, os.getppid())]
    for name in names:
        (drivers._directory / name).touch()
    assert [drivers.alive(name) for name in names] == [False, True]


def test_driver_that_was_killed_is_gone_and_swept(tmp_path: Path) -> None:
    drivers = Drivers(folder(tmp_path))
    drivers._directory.mkdir()
    dead = drivers._directory / "host-1-abc"
    dead.touch()
    assert drivers.alive("host-1-abc")
    old = time.time() - GONE_AFTER_S - 1
    os.utime(dead, (old, old))
    assert not drivers.alive("host-1-abc") and drivers.others() == []
    with drivers.join(exclusive=True):
        assert drivers.names() == [drivers.own]

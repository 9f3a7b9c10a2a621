"""Who drives a study, and how it is asked to stop."""

import os
import signal
import time
from pathlib import Path

import pytest

from diffrop.errors import StudyError
from diffrop.search.drivers import GONE_AFTER_S, Drivers, StopSignal


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_to_stop_and_the_second_ends(tmp_path: Path, number: int) -> None:
    stop, before = StopSignal(tmp_path / "stop"), signal.getsignal(number)
    with stop.watched():
        os.kill(os.getpid(), number)
        assert stop.given and (tmp_path / "stop").exists()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert not (tmp_path / "stop").exists()
    assert signal.getsignal(number) == before


def test_stop_of_an_earlier_launch_does_not_stop_this_one(tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    stop = StopSignal(tmp_path / "stop")
    with stop.watched():
        assert not stop.given and not (tmp_path / "stop").exists()

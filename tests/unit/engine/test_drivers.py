"""Who drives a study, and how it is asked to stop."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from diffrop.engine.drivers import GONE_AFTER_S, Drivers, StopSignal
from diffrop.errors import StudyError
from diffrop.training.stop import StopNotice, withdraw_stop


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
    stop, before = StopSignal(tmp_path), signal.getsignal(number)
    with stop.watched():
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested and StopNotice(tmp_path).requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert stop.requested and not StopNotice(tmp_path).requested()
    assert signal.getsignal(number) == before


def test_each_driver_stops_its_own_trials_and_withdraws_no_other_request(tmp_path: Path) -> None:
    one, two = StopSignal(tmp_path, "one"), StopSignal(tmp_path, "two")
    (tmp_path / f"stop-{socket.gethostname()}.example").touch()  # of another node
    with two.watched():
        with one.watched():
            os.kill(os.getpid(), signal.SIGTERM)
            assert StopNotice(tmp_path, driver="one").requested()
            assert not StopNotice(tmp_path, driver="two").requested() and not two.requested
        os.kill(os.getpid(), signal.SIGTERM)
        with one.watched():
            pass  # another comes and goes
        assert StopNotice(tmp_path, driver="two").requested()
    names = [path.name for path in tmp_path.iterdir()]
    assert names == [f"stop-{socket.gethostname()}.example"]


def test_request_made_by_hand_stops_every_driver_until_it_is_withdrawn(tmp_path: Path) -> None:
    signals = [StopSignal(tmp_path, driver) for driver in ("one", "two")]
    (tmp_path / "stop").touch()
    (tmp_path / "stop.killed").touch()
    (tmp_path / f"stop-{socket.gethostname()}").touch()
    for found in signals:
        with found.watched():
            assert found.requested
    assert StopNotice(tmp_path, driver="three").requested()
    withdraw_stop(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"stop-{socket.gethostname()}"]
    assert not StopSignal(tmp_path, "three").requested
    assert StopNotice(tmp_path, driver="three").requested()  # the node's notice is its own

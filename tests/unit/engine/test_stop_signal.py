"""How a launch is asked to stop."""

import os
import queue
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from diffrop.engine import stop_signal
from diffrop.engine.stop_signal import StopSignal
from diffrop.signals import AGAIN_AFTER_S, REPEATED_AFTER_S
from diffrop.training.stop import StopNotice, withdraw_stop


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(stop_signal.time, "monotonic", lambda: now[0])
    return now


def told(said: "queue.Queue[str]") -> str:
    """What the user was told, in a thread."""
    return said.get(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_asks_to_stop_and_another_ends(
    tmp_path: Path, number: signal.Signals, clock: list[float]
) -> None:
    said: queue.Queue[str] = queue.Queue()
    stop, before = StopSignal(tmp_path, say=said.put), signal.getsignal(number)
    stop.waits_for = "the trials save"
    with stop.watched():
        assert not stop.requested
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # as `timeout` sends it
        assert stop.requested and StopNotice(tmp_path).requested()
        sentence = f"{number.name} asks to stop: the trials save. Another signal ends at once."
        assert told(said) == sentence
        clock[0] += 2 * AGAIN_AFTER_S
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert stop.requested and said.empty()
    assert not (tmp_path / "stop").exists()
    assert signal.getsignal(number) == before


def test_closed_terminal_asks_to_stop_however_often_it_says_so(
    tmp_path: Path, clock: list[float]
) -> None:
    stop = StopSignal(tmp_path)
    with stop.watched():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            clock[0] += 2 * AGAIN_AFTER_S
        assert stop.requested


def test_first_signal_ends_at_once_what_can_be_given_up(tmp_path: Path) -> None:
    said: queue.Queue[str] = queue.Queue()
    stop = StopSignal(tmp_path, say=said.put)
    with stop.watched():
        with pytest.raises(KeyboardInterrupt), stop.at_once():
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested and told(said) == "SIGINT asks to stop."


class Dropping:
    """Nothing can be raised in its `__del__`, during which a signal comes."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interruption_that_was_lost_comes_again_as_the_same(
    tmp_path: Path, number: signal.Signals
) -> None:
    stop = StopSignal(tmp_path)
    with stop.watched():
        with pytest.raises(KeyboardInterrupt, match=number.name), stop.at_once():
            Dropping(number)
            threading.Event().wait(20)  # what waits for a lock is woken up, too
        assert stop.requested


def test_interruption_that_comes_again_too_late_is_no_second_signal(tmp_path: Path) -> None:
    stop = StopSignal(tmp_path)
    with stop.watched():
        with stop.at_once():
            Dropping(signal.SIGTERM)
        time.sleep(REPEATED_AFTER_S + 0.5)  # of work that has to be done, and goes on
        assert stop.requested


def test_fault_asks_like_a_signal_and_a_file_by_hand_is_told(tmp_path: Path) -> None:
    said: queue.Queue[str] = queue.Queue()
    stop = StopSignal(tmp_path, "one", say=said.put)
    with stop.watched():
        stop.ask("the database, which was away for 300 s,")
        stop.ask("another fault")
        assert stop.requested and StopNotice(tmp_path, driver="one").requested()
        assert told(said).startswith("the database, which was away for 300 s, asks to stop: ")
    by_hand = StopSignal(tmp_path, say=said.put)
    (tmp_path / "stop").touch()
    assert by_hand.requested and by_hand.requested
    assert told(said).startswith(f"the file {tmp_path / 'stop'} asks to stop: ") and said.empty()


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

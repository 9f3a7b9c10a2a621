"""Signals that end a program, and the limit of time."""

import os
import signal
import threading
import time

import pytest

from diffrop.signals import (
    AGAIN_AFTER_S,
    ENDING,
    Interruption,
    answered,
    held_back,
    interrupting,
    time_limit,
)


def test_answer_receives_every_ending_signal_and_whoever_was_before_is_back() -> None:
    got: list[int] = []
    before = [signal.getsignal(number) for number in ENDING]
    with answered(lambda number, frame: got.append(number)):
        for number in ENDING:
            os.kill(os.getpid(), number)
    assert got == list(ENDING)
    assert [signal.getsignal(number) for number in ENDING] == before


def test_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with answered(interrupting()):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signal_waits_for_the_end_of_a_block_that_must_not_be_left() -> None:
    done: list[str] = []
    with answered(interrupting()):
        with pytest.raises(KeyboardInterrupt, match="SIGTERM"), held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("the whole block")
        with held_back():
            done.append("without a signal")
    assert done == ["the whole block", "without a signal"]


def test_signal_sent_twice_at_once_interrupts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    answer = interrupting()
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        answer(signal.SIGTERM, None)
    answer(signal.SIGTERM, None)  # as `timeout` sends it
    now[0] += AGAIN_AFTER_S
    with pytest.raises(KeyboardInterrupt):
        answer(signal.SIGTERM, None)


def test_block_past_its_time_is_interrupted_and_others_are_not() -> None:
    with time_limit(60), time_limit(None):
        pass
    with pytest.raises(KeyboardInterrupt), time_limit(0.05):
        while True:
            time.sleep(0.01)
    assert signal.getitimer(signal.ITIMER_REAL)[0] != 60  # nothing of ours is left


def test_limit_gives_back_the_timer_of_before() -> None:
    before = signal.setitimer(signal.ITIMER_REAL, 1000)
    with time_limit(5):
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 5
    left, _ = signal.setitimer(signal.ITIMER_REAL, *before)
    assert 900 < left <= 1000


class Dropping:
    """Its `__del__` takes so long that a signal falls into it, where nothing can be raised."""

    def __init__(self, begun: list[str]) -> None:
        self.begun = begun

    def __del__(self) -> None:
        self.begun.append("del")
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            time.sleep(0.01)
        self.begun.append("done")


def test_limit_that_falls_into_a_destructor_comes_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    steps: list[str] = []
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="the time limit"), time_limit(0.1):
        Dropping(steps)  # is dropped, and its destructor interrupted
        threading.Event().wait(20)  # and what then waits is woken up
    assert steps == ["del"]
    assert time.monotonic() - start < 10
    assert "Exception ignored" not in capfd.readouterr().err


def test_signal_that_falls_into_a_destructor_comes_again(
    capfd: pytest.CaptureFixture[str],
) -> None:
    steps: list[str] = []
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), answered(interrupting()):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        Dropping(steps)
        while time.monotonic() < start + 20:
            time.sleep(0.01)
    assert steps == ["del"] and time.monotonic() - start < 10
    assert "Exception ignored" not in capfd.readouterr().err


def test_interruption_that_is_no_longer_wanted_does_not_come_again() -> None:
    got: list[int] = []
    with answered(lambda number, frame: got.append(number)):
        for wanted in (False, True):
            Interruption(signal.SIGTERM, "SIGTERM", lambda wanted=wanted: wanted).repeat()
        time.sleep(AGAIN_AFTER_S + 0.5)
    assert got == [signal.SIGTERM]


def test_what_others_could_not_raise_is_shown_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: shown.append(str(args.exc_value)))

    class Failing:
        def __del__(self) -> None:
            raise ValueError("of another")

    with answered(interrupting()):
        Failing()
    assert shown == ["of another"]

"""The signals that end a program, and who answers them."""

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; a request to end, as `kill`, `timeout` and SLURM send it; a terminal that is closed."""

AGAIN_AFTER_S = 1.0
"""A signal that follows another sooner is the same request: `timeout` sends each of its twice."""

REPEATED_AFTER_S = AGAIN_AFTER_S + 0.05
"""When a signal whose interruption was lost comes again: as one that is not the same request."""

Answer = Callable[[int, FrameType | None], object]


class Interruption(KeyboardInterrupt):
    """A signal interrupts the main thread, and does so again where that was in vain.

    What is raised in a `__del__`, in the callback of a weak reference or amid a collection of
    garbage goes no further: Python prints it and goes on. Then the signal is answered once more.
    """

    def __init__(self, number: int, why: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Note what to repeat.

        Args:
            number: of the signal.
            why: what interrupts, as the user is told.
            wanted: whether what was to be interrupted still goes on.
        """
        super().__init__(why)
        self.number, self.wanted = number, wanted

    def repeat(self) -> None:
        """Have the signal answered again in a while, if somebody answers it then.

        It is sent to the main thread, which may wait for something and wakes up by it.
        """
        number, wanted, main = self.number, self.wanted, threading.main_thread().ident
        assert main is not None  # it runs

        def again() -> None:
            if wanted() and callable(signal.getsignal(number)):
                signal.pthread_kill(main, number)

        timer = threading.Timer(REPEATED_AFTER_S, again)
        timer.daemon = True
        timer.start()


@contextlib.contextmanager
def lost_interruptions_repeated() -> Iterator[None]:
    """Repeat each interruption that Python could not raise, in place of printing it."""
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if isinstance(unraisable.exc_value, Interruption):
            unraisable.exc_value.repeat()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def answered(answer: Answer) -> Iterator[None]:
    """Call `answer` at each signal that ends a program; whoever answered before does so again.

    A SIGHUP that is ignored, as `nohup` has it, stays ignored. Python calls the answer in the main
    thread, between two of its instructions; from another thread nothing can be changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if not (number == signal.SIGHUP and handler == signal.SIG_IGN):
            signal.signal(number, answer)
    try:
        with lost_interruptions_repeated():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Let signals wait for the end of a block that must not be left in its midst."""
    waiting: list[int] = []
    try:
        with answered(lambda number, frame: waiting.append(number)):
            yield
    finally:
        for number in dict.fromkeys(waiting):
            os.kill(os.getpid(), number)


def interrupting() -> Answer:
    """Return an answer that raises KeyboardInterrupt with the signal's name.

    It is the one where nothing has to be saved.
    """
    raised_at = -math.inf

    def answer(number: int, frame: FrameType | None) -> None:
        nonlocal raised_at
        if time.monotonic() - raised_at >= AGAIN_AFTER_S:
            raised_at = time.monotonic()
            raise Interruption(number, signal.Signals(number).name)

    return answer


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block once it has taken so long; None is no limit."""
    going_on = True

    def answer(number: int, frame: FrameType | None) -> None:
        raise Interruption(number, "the time limit", lambda: going_on)

    if seconds is None:
        yield
        return
    handler = signal.signal(signal.SIGALRM, answer)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with lost_interruptions_repeated():
            yield
    finally:
        going_on = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)

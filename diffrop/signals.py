"""The signals that end a program, and who answers them."""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; a request to end, as `kill`, `timeout` and SLURM send it; a terminal that is closed."""

AGAIN_AFTER_S = 1.0
"""A signal that follows another sooner is the same request: `timeout` sends each of its twice."""

Answer = Callable[[int, FrameType | None], object]


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
            raise KeyboardInterrupt(signal.Signals(number).name)

    return answer


@contextlib.contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block once it has taken so long; None is no limit."""

    def answer(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt("the time limit")

    if seconds is None:
        yield
        return
    handler = signal.signal(signal.SIGALRM, answer)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)

"""Functions that tests have called in a background process."""

import os
import signal
import time
from pathlib import Path


def work(folder: str, words: str) -> list[Path]:
    """Take a fifth of a second of a processor, and write down what the process is like."""
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    found = [words, os.getpid(), os.nice(0), *map(os.getenv, ("OMP_NUM_THREADS", GPUS))]
    path = Path(folder) / "worked"
    path.write_text("\n".join(map(str, found)))
    return [path]


GPUS = "CUDA_VISIBLE_DEVICES"


def fail(folder: str, words: str) -> list[Path]:
    """Fail, after some words of others."""
    os.write(2, b"a warning of some library\n")
    raise ValueError("the figure has no axes")


def crash(folder: str, words: str) -> list[Path]:
    """End as code does that touches memory that is not its own."""
    os.kill(os.getpid(), signal.SIGSEGV)
    return []


def dwell(folder: str, words: str) -> list[Path]:
    """Never end; what is half written goes at a request to end."""
    path = Path(folder) / "half-written"
    path.write_text(str(os.getpid()))
    try:
        time.sleep(600)
    finally:
        path.unlink()
    return []


def burn(folder: str, words: str) -> list[Path]:
    """Never end, and take a processor; what is half written goes at a request to end."""
    path = Path(folder) / "half-written"
    path.write_text(str(os.getpid()))
    try:
        while True:
            pass
    finally:
        path.unlink()


def burn_on(folder: str, words: str) -> list[Path]:
    """Never end, and take a processor, whatever is asked."""
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    return burn(folder, words)


def insist(folder: str, words: str) -> list[Path]:
    """Never end, whatever is asked."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    (Path(folder) / "half-written").write_text(str(os.getpid()))
    time.sleep(600)
    return []

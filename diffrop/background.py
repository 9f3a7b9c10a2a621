"""A function called in a process of its own, in the background: it never outlives its caller.

The process takes what nobody else wants: it has a low priority, one thread, and sees no GPU.
"""

import importlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diffrop.edge import FAULT, INTERRUPTED, described
from diffrop.signals import ENDING, answered, interrupting

NICENESS = 10
"""Beside a process of the usual priority it has about a tenth of a core."""
USED_UP = 128 + signal.SIGXCPU
"""Exit code of a process that has taken all the processor seconds that it may take."""
END_S = 2.0
"""Seconds in which a process that is to end may remove half-written files."""


@dataclass(frozen=True)
class Outcome:
    """How a call ended."""

    cpu_s: float
    """Processor seconds that the process took, its imports included."""
    fault: str
    """What went wrong, in words; empty if nothing did, and after a request to end."""
    used_up: bool = False
    """Whether it was ended because it took all the processor seconds that it may take."""


class BackgroundCall:
    """One call of a function, from its start until `poll` has returned how it ended."""

    def __init__(self, function: Callable[..., object], *arguments: str, cpu_s: int) -> None:
        """Start it.

        Args:
            function: of a module, which is imported as this process would import it.
            arguments: of the function.
            cpu_s: processor seconds that the process may take, its imports included, at least 2;
                in the last of them it is asked to end, and after it killed.

        Raises:
            OSError: no process can be started.
        """
        self.began = time.monotonic()
        paths = [path or str(Path.cwd()) for path in sys.path]
        environment = {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        target = f"{function.__module__}:{function.__qualname__}"
        self._cpu_s = cpu_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has ended
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(cpu_s), target, *arguments],
            stdin=subprocess.PIPE,  # nothing is written: it closes when this process ends
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            env=os.environ | environment,
        )

    def poll(self) -> Outcome | None:
        """Return how the call ended; None while it runs."""
        return self._outcome(os.WNOHANG)

    def end(self) -> Outcome:
        """End the process, if it still runs, and return how the call ended."""
        os.kill(self._process.pid, signal.SIGTERM)  # `Popen.terminate` might collect it
        until = time.monotonic() + END_S
        while time.monotonic() < until:
            if outcome := self.poll():
                return outcome
            time.sleep(0.02)
        os.kill(self._process.pid, signal.SIGKILL)
        outcome = self._outcome(0)
        assert outcome is not None
        return replace(outcome, fault="")

    def _outcome(self, options: int) -> Outcome | None:
        """Collect the process; `Popen.wait` would not tell its processor seconds."""
        try:
            pid, status, used = os.wait4(self._process.pid, options)
        except ChildProcessError:  # somebody collected it, and how it ended is not known
            self._process.returncode = 0
            return self._closed(Outcome(time.monotonic() - self.began, fault=""))
        if not pid:
            return None
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return self._closed(self._collected(used.ru_utime + used.ru_stime))

    def _collected(self, cpu_s: float) -> Outcome:
        code = self._process.returncode
        killed = -code == signal.SIGKILL and cpu_s > self._cpu_s - 1
        used_up = killed or code == USED_UP or -code == signal.SIGXCPU
        return Outcome(cpu_s, "" if used_up else self._fault(), used_up)

    def _fault(self) -> str:
        code = self._process.returncode
        if code in (0, INTERRUPTED) or -code in ENDING:
            return ""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return said[-1] if said and code > 0 else f"its process ended with code {code}"

    def _closed(self, outcome: Outcome) -> Outcome:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._errors.close()
        return outcome


def main(argv: Sequence[str]) -> int:
    """Call `MODULE:FUNCTION` in so many processor seconds; return the exit code."""
    cpu_s, target, *arguments = argv
    os.nice(NICENESS)
    threading.Thread(target=_end_with_caller, daemon=True).start()
    module, _, name = target.partition(":")
    with answered(interrupting()):
        try:
            signal.signal(signal.SIGXCPU, interrupting())
            _limit_processor(int(cpu_s))
            getattr(importlib.import_module(module), name)(*arguments)
        except KeyboardInterrupt as error:
            return USED_UP if str(error) == signal.SIGXCPU.name else INTERRUPTED
        except Exception as error:
            print(described(error)[1], file=sys.stderr)
            return FAULT
    return 0


def _limit_processor(seconds: int) -> None:
    """Have the kernel ask this process to end after so many processor seconds but one."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = seconds if hard == resource.RLIM_INFINITY else min(seconds, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (most - 1, most))


def _end_with_caller() -> None:
    """End once the process that called has ended, however that was: then its pipe is closed."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A study's command in a process group of its own, watched from outside and struck by signals."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from diffrop.record.study_folder import StudyFolder
from tests.made.small import ROOT

MARK = "DIFFROP_TEST_MARK"
"""A variable of the environment by which the processes of a study are known."""
DEADLINE_S = 600.0
"""For anything that is waited for: beyond it something hangs."""
SMALL_NETWORK = (
    "model.base_channels=8",
    "model.channel_multipliers=[1]",
    "model.num_res_blocks=1",
    "model.attention_resolutions=[]",
)
"""Settings of a network that takes milliseconds a step."""


def with_settings(*settings: str) -> tuple[str, ...]:
    """Return the options that give a command these settings."""
    return tuple(word for setting in settings for word in ("--set", setting))


EXTRACTOR = ("--extractor", "tests.made.small:RowBrightness")
"""It trains nothing."""
TINY = (
    *(*EXTRACTOR, "--batch-size", "32", "--omegas", "0", "--confirm", "0"),
    *with_settings(
        *SMALL_NETWORK,
        "sampling.num_steps=2",
        "training.log_every_images=320",
        "training.checkpoint_every_images=640000",
    ),
)
"""Options of a study that prepares in a moment, and whose network takes milliseconds a step."""


class StudyProcess:
    """The command `run_tau_sweep.py --study-name NAME`; its launches share a log.

    The log lies beside the folder, whose disk a test may fill.
    """

    driver: "subprocess.Popen[bytes]"

    def __init__(self, folder: Path, *options: str, name: str = "s") -> None:
        """Start nothing yet.

        Args:
            folder: its runs are in `runs` there.
            options: of every launch.
            name: of the study.
        """
        self.folder, self.name, self.options = folder, name, options
        self.study = StudyFolder(folder / "runs" / name)
        self.log = folder.with_name(f"{folder.name}-{name}.log")
        self._mark = uuid.uuid4().hex

    def start(self, *more: str, stdout: int | None = None) -> None:
        """Start the study, or go on with it.

        Args:
            more: options of this launch.
            stdout: where it prints, if not into the log.
        """
        script = str(ROOT / "studies" / "run_tau_sweep.py")
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self.driver = subprocess.Popen(
                [sys.executable, script, "--study-name", self.name, *self.options, *more],
                stdout=log if stdout is None else stdout,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": path, MARK: self._mark},
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What all launches have printed so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait for something to happen while it runs."""
        deadline = time.monotonic() + DEADLINE_S
        while not happened():
            assert self.driver.poll() is None, f"it ended: {self.said}"
            assert time.monotonic() < deadline, f"it hangs: {self.said}"
            time.sleep(0.05)

    def strike(self, number: signal.Signals) -> None:
        """Send a signal to the process group, as Ctrl-C at a terminal does."""
        os.killpg(self.driver.pid, number)

    def kill_driver(self) -> None:
        """Send SIGKILL to the driver, and wait until what it started is gone."""
        self.driver.kill()
        self.end()

    def end(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for its end, after which nothing that it started is left; return the exit code."""
        code = self.driver.wait(deadline_s)
        _, left = psutil.wait_procs(self.everyone(), timeout=90)
        assert not left, f"{[process.name() for process in left]} are left: {self.said}"
        return code

    def everyone(self) -> list[psutil.Process]:
        """The processes that it started and that live, itself included."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = process.environ().get(MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def named(self, name: str) -> list[psutil.Process]:
        """Those of them whose command begins with a name, such as `raylet`."""
        found = []
        for process in self.everyone():
            with contextlib.suppress(psutil.Error):
                first = (process.cmdline() or [""])[0]
                if first.startswith(name) or Path(first).name == name:
                    found.append(process)
        return found

    def kill(self) -> None:
        """End whatever is left of it, whatever happened."""
        for process in self.everyone():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.driver.wait(30)


Process = TypeVar("Process", bound=StudyProcess)


@contextlib.contextmanager
def running(study: Process, stdout: int | None = None) -> Iterator[Process]:
    """Start a study, and leave none of its processes behind."""
    study.start(stdout=stdout)
    try:
        yield study
    finally:
        study.kill()

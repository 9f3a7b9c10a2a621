"""A study's command in a process of its own, watched from outside and struck by signals."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import torch

from tests.made.small import ROOT, RowBrightness

MARK = "DIFFROP_TEST_MARK"
"""A variable of the environment by which the processes of a driver are known."""
DEADLINE_S = 240.0
"""For anything that is waited for: beyond it something hangs."""
TINY = (
    *("--extractor", "tests.made.driven:rows", "--batch-size", "32", "--omegas", "0"),
    *(
        word
        for setting in (
            "model.base_channels=8",
            "model.channel_multipliers=[1]",
            "model.num_res_blocks=1",
            "model.attention_resolutions=[]",
            "sampling.num_steps=2",
            "training.log_every_images=320",
            "training.checkpoint_every_images=640000",
        )
        for word in ("--set", setting)
    ),
)
"""Options of a study whose network takes milliseconds a step."""


def rows() -> torch.nn.Module:
    """An extractor for the command line, which trains nothing."""
    return RowBrightness()


class Driven:
    """The command `run_tau_sweep.py --study-name s` in a process group of its own."""

    def __init__(self, folder: Path, *options: str, stdout: int | None = None) -> None:
        """Start it.

        Args:
            folder: its runs are in `runs`, and what it says in `log`.
            options: beside `TINY`.
            stdout: where it prints, if not into the log.
        """
        self.study, self.log = folder / "runs/s", folder / "log"
        self._mark = uuid.uuid4().hex
        command = [sys.executable, str(ROOT / "studies/run_tau_sweep.py"), "--study-name", "s"]
        command += ["--runs-root", str(folder / "runs"), *TINY, *options]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path, MARK: self._mark},
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait for something to happen while it runs."""
        deadline = time.monotonic() + DEADLINE_S
        while not happened():
            assert self.process.poll() is None, f"it ended: {self.said}"
            assert time.monotonic() < deadline, f"it hangs: {self.said}"
            time.sleep(0.05)

    def logged(self, where: str = "trials/t000") -> int:
        """Lines of a training's curves."""
        path = self.study / where / "training/metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def checkpoints(self, where: str = "trials/t000") -> list[str]:
        """The names of a training's checkpoints."""
        return sorted(path.name for path in (self.study / where).glob("training/*.safetensors"))

    def strike(self, number: signal.Signals) -> None:
        """Send a signal to the process group, as Ctrl-C at a terminal does."""
        os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, float]:
        """Return the exit code and the seconds until then; nothing that it started is left."""
        since = time.monotonic()
        code = self.process.wait(DEADLINE_S)
        seconds = time.monotonic() - since
        deadline = time.monotonic() + 30
        while (left := [p.name() for p in self.everyone()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == [], self.said
        return code, seconds

    def everyone(self) -> Iterator[psutil.Process]:
        """The processes that it started and that live, itself included."""
        for process in psutil.process_iter():
            try:
                ours = process.environ().get(MARK) == self._mark
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except psutil.Error:
                continue

    def kill(self) -> None:
        """End whatever is left of it, after a test that failed."""
        for process in list(self.everyone()):
            process.kill()
        self.process.wait(30)

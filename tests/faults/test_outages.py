"""Studies whose database is away for a moment, or whose disk is full for a while."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from diffrop.training.store import CheckpointStore
from tests.made.faults import LOST, fault
from tests.made.postgresql import new_server
from tests.made.small import ROOT

pytestmark = [pytest.mark.timeout(1500), pytest.mark.long]
NUM_TRIALS, IMAGES = 3, 4096
OPTIONS = {
    "--study-name": "s",
    "--trials": str(NUM_TRIALS),
    "--scheduler": "none",
    "--images": str(IMAGES),
    "--num-samples": "40",
    "--omegas": "0",
    "--max-concurrent": "1",
    "--set": "sampling.num_steps=2",
}
DEADLINE_S = 600


@dataclass
class Command:
    """A small study's real command in a folder of its own."""

    folder: Path
    options: tuple[str, ...] = ()

    @property
    def log_path(self) -> Path:
        """The file with what all launches printed, beside the folder."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def log(self) -> str:
        """What all launches printed."""
        return self.log_path.read_text()

    def start(self, *more: str) -> None:
        """Start the study, or go on with it."""
        words = [word for pair in OPTIONS.items() for word in pair]
        script = str(ROOT / "studies" / "run_tau_sweep.py")
        with self.log_path.open("ab") as file:
            self.driver = subprocess.Popen(
                [sys.executable, script, *words, *self.options, *more],
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait for something to happen while the driver runs."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.driver.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.1)

    def wait_for_trial(self, number: int) -> None:
        """Wait until a trial trains."""
        name = f"runs/s/trials/t{number:03d}/training/metrics.jsonl"
        self.wait_for(lambda: (self.folder / name).exists())

    def finish(self) -> int:
        """Wait for the driver's end; return its exit code."""
        return self.driver.wait(timeout=DEADLINE_S)


@contextlib.contextmanager
def running(command: Command) -> Iterator[Command]:
    """Start a study, and do not leave its driver behind."""
    command.start()
    try:
        yield command
    finally:
        command.driver.kill()
        command.driver.wait()


def check_nothing_lost(command: Command, url: str = "") -> None:
    """Each trial is there once and complete, and nothing was trained twice."""
    url = url or f"sqlite:///{command.folder}/runs/s/study.db"
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}, command.log
    store = CheckpointStore(command.folder / "runs/checkpoints")
    assert len(store.folders()) == NUM_TRIALS
    for folder in store.folders():
        segments = folder.record.segments()
        assert sum(part.end - part.begin for part in segments) == IMAGES
        rows = [row["images_seen"] for row in folder.record.curves()]
        assert rows == sorted(set(rows)) and rows[-1] == IMAGES
    assert "Traceback" not in command.log


@fault(31, "BEGIN EXCLUSIVE by another process, for 15 s, and then until the study gives up")
def test_locked_sqlite_is_waited_for_and_past_the_limit_trials_save_and_stop(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(Command(tmp_path, ("--outage-wait", "30"))) as command:
        command.wait_for_trial(0)
        with contextlib.closing(sqlite3.connect(tmp_path / "runs/s/study.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(15)
        command.wait_for_trial(1)
        with contextlib.closing(sqlite3.connect(tmp_path / "runs/s/study.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert command.finish() == 1
        last = command.log.strip().splitlines()[-1]
        assert "database is locked" in last and "--resume" in last
        command.start("--resume")
        assert command.finish() == 0, command.log
        check_nothing_lost(command)
    record_property(LOST, "nothing")


@fault(31, "a PostgreSQL server that is stopped for 5 s")
def test_restarted_postgresql_is_waited_for(tmp_path: Path) -> None:
    with new_server() as server, running(Command(tmp_path, ("--storage", server.url))) as command:
        command.wait_for_trial(1)
        server.stop()
        time.sleep(5)
        server.start()
        assert command.finish() == 0, command.log
        check_nothing_lost(command, server.url)


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[None]:
    """Mount a disk of its own at a folder, which only root may."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no file system can be mounted here (it takes root)")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left on a disk."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@fault(32, "a file that fills a tmpfs while a trial trains, for 20 s, and then until it gives up")
def test_full_disk_is_waited_for_and_past_the_limit_trials_stop(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    with small_disk(root, 512), running(Command(root, ("--outage-wait", "40"))) as command:
        command.wait_for_trial(0)
        fill(root / "filler")
        time.sleep(20)
        (root / "filler").unlink()
        command.wait_for_trial(1)
        fill(root / "filler")
        code = command.finish()
        (root / "filler").unlink()
        assert code == 1, command.log
        command.start("--resume")
        assert command.finish() == 0, command.log
        assert "no room on the disk" in command.log
        check_nothing_lost(command)

"""Studies whose database is away for a moment, or whose disk is full for a while."""

import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from diffrop.training.store import CheckpointStore
from tests.made.faults import LOST, fault
from tests.made.postgresql import new_server
from tests.made.study_process import TINY, StudyProcess, running

pytestmark = [pytest.mark.timeout(1500), pytest.mark.long]
NUM_TRIALS, IMAGES = 3, 12_800
OPTIONS = (
    *(*TINY, "--trials", str(NUM_TRIALS), "--scheduler", "none", "--images", str(IMAGES)),
    *("--num-samples", "40", "--max-concurrent", "1"),
    *("--set", "training.checkpoint_every_images=3200"),
)
"""Trials that train for some seconds each."""


def trains(study: StudyProcess, number: int) -> Callable[[], bool]:
    """Whether a trial has begun to train."""
    return lambda: study.study.trial(number).training().curves_path.exists()


def check_nothing_lost(study: StudyProcess, url: str = "") -> None:
    """Each trial is there once and complete, and nothing was trained twice."""
    url = url or f"sqlite:///{study.study.database}"
    trials = optuna.load_study(study_name="s", storage=url).trials
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}, study.said
    store = CheckpointStore(study.folder / "runs/checkpoints")
    assert len(store.folders()) == NUM_TRIALS
    for folder in store.folders():
        segments = folder.record.segments()
        assert sum(part.end - part.begin for part in segments) == IMAGES
        rows = [row["images_seen"] for row in folder.record.curves()]
        assert rows == sorted(set(rows)) and rows[-1] == IMAGES
    assert "Traceback" not in study.said


@fault(31, "BEGIN EXCLUSIVE by another process, for 15 s, and then until the study gives up")
def test_locked_sqlite_is_waited_for_and_past_the_limit_trials_save_and_stop(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with running(StudyProcess(tmp_path, *OPTIONS, "--outage-wait", "30")) as study:
        study.wait_for(trains(study, 0))
        with contextlib.closing(sqlite3.connect(tmp_path / "runs/s/study.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(15)
        study.wait_for(trains(study, 1))
        with contextlib.closing(sqlite3.connect(tmp_path / "runs/s/study.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert study.end() == 1
        last = study.said.strip().splitlines()[-1]
        assert "database is locked" in last and "--resume" in last
        study.start("--resume")
        assert study.end() == 0, study.said
        check_nothing_lost(study)
    record_property(LOST, "nothing")


@fault(31, "a PostgreSQL server that is stopped for 5 s")
def test_restarted_postgresql_is_waited_for(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(new_server())
        options = (*OPTIONS, "--storage", server.url)
        study = stack.enter_context(running(StudyProcess(tmp_path, *options)))
        study.wait_for(trains(study, 1))
        server.stop()
        time.sleep(5)
        server.start()
        assert study.end() == 0, study.said
        check_nothing_lost(study, server.url)


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
    options = (*OPTIONS, "--outage-wait", "40")
    with small_disk(root, 512), running(StudyProcess(root, *options)) as study:
        study.wait_for(trains(study, 0))
        fill(root / "filler")
        time.sleep(20)
        (root / "filler").unlink()
        study.wait_for(trains(study, 1))
        fill(root / "filler")
        code = study.end()
        (root / "filler").unlink()
        assert code == 1, study.said
        study.start("--resume")
        assert study.end() == 0, study.said
        assert "no room on the disk" in study.said
        check_nothing_lost(study)

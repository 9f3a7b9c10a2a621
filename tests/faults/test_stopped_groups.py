"""Trials of several workers that a scheduler stops while their groups are being restarted."""

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from ray.tune.schedulers import TrialScheduler

from diffrop.metrics.features import FeatureExtractor
from diffrop.record.study_folder import StudyFolder
from diffrop.search.scheduler import StudyScheduler
from tests.made.faults import fault
from tests.made.ray_head import ray_head, wait_until_free
from tests.made.small import RowBrightness, learning_rate_study, small_experiment
from tests.made.studies import launch_in, run_small, states

pytestmark = pytest.mark.timeout(900)
WORKER_NICENESS = 15
"""Ray's default. At 0 each such process would count as much as thirty workers."""
TRIAL, CONTROLLER, WORKER = "ray::ImplicitFunc", "ray::TrainController", "ray::RayTrainWorker"
# The trials after the baseline are worse than it at the rung: each is stopped there, while its
# workers train on.
CONFIG = dataclasses.replace(
    learning_rate_study(1e-3, num_trials=4, reduction_factor=16),
    experiment=small_experiment(training__num_images=1024),
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster that one trial fills."""
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=2) as found:
        yield found


class KillsAround(RowBrightness):
    """Kills processes of one trial, the next at each restart, and waits to end with them."""

    def __init__(self, trial: Path, names: tuple[str, ...]) -> None:
        super().__init__()
        self.trial, self.names = trial, names

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return features, after a kill if one is due."""
        rank_0 = torch.distributed.is_initialized() and torch.distributed.get_rank() == 0
        if rank_0 and self.trial.exists():
            struck = len(list(self.trial.glob("struck-*")))
            if struck < len(self.names):
                (self.trial / f"struck-{struck}").touch()
                kill(named(self.names[struck], psutil.Process().parent()))
                time.sleep(600)
        return super().forward(images)


def named(name: str, root: psutil.Process) -> list[psutil.Process]:
    """The processes below another whose names, as Ray writes them, begin so."""
    found = []
    for process in root.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:1] and process.cmdline()[0].startswith(name):
                found.append(process)
    return found


def kill(processes: list[psutil.Process]) -> None:
    """Send SIGKILL to each."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def restart_before_stops(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have a worker killed at each decision to stop, which waits until the controller has acted.

    That either asks for a second group, which is then in the midst of its start when the
    trial is stopped, or ends. Returns a list to which the trials' numbers are added.
    """
    decide, stopped, own = StudyScheduler.on_trial_result, [], psutil.Process()

    def decide_late(self: StudyScheduler, controller: Any, trial: Any, result: Any) -> str:
        decision = decide(self, controller, trial, result)
        if decision == TrialScheduler.STOP:
            stopped.append(trial.config["number"])
            groups = set(ray.util.placement_group_table())
            kill(named(WORKER, own)[:1])
            end = time.monotonic() + 60
            while time.monotonic() < end and named(CONTROLLER, own):
                if set(ray.util.placement_group_table()) - groups:
                    break
                time.sleep(0.2)
        return decision

    monkeypatch.setattr(StudyScheduler, "on_trial_result", decide_late)
    return stopped


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Have as many processes compute all the while, each at the priority of Ray's workers."""
    started = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        for process in started:
            psutil.Process(process.pid).nice(WORKER_NICENESS)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


@fault(7, "SIGKILL to the trial's process and to the controller, between two stops")
@fault(34, "three stops in a row, each of a group that has just lost a worker, SIGKILL between")
@pytest.mark.parametrize(
    ("names", "processes"),
    [
        ((TRIAL,), 0),
        pytest.param((TRIAL, CONTROLLER), os.cpu_count() or 1, marks=pytest.mark.long),
    ],
    ids=["", "busy"],
)
def test_each_stopped_group_leaves_its_cpus_to_the_next(
    address: str,
    tmp_path: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    processes: int,
) -> None:
    stopped = restart_before_stops(monkeypatch)
    launch = launch_in(tmp_path, ray_address=address, workers_per_trial=2, max_concurrent=1)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    folder = StudyFolder(tmp_path / "runs" / CONFIG.name).trial(2).path
    extractor = FeatureExtractor(KillsAround(folder, names), "pixels")
    with busy(processes):
        finished = run_small(CONFIG, launch, extractor)
        assert wait_until_free(address) == {}
    assert stopped == [1, 2, 3]
    assert states(finished) == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert len(list(folder.glob("struck-*"))) == len(names)

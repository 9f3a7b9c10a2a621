"""Trials of several workers that a scheduler stops, on controllers that are slow to die."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from diffrop.metrics.features import FeatureExtractor
from diffrop.record.study_folder import StudyFolder
from tests.made.faults import fault
from tests.made.ray_head import ray_head, wait_until_free
from tests.made.slow_controller import SLOW_TO_DIE
from tests.made.small import RowBrightness, learning_rate_study, small_experiment
from tests.made.studies import launch_in, run_small, states

pytestmark = pytest.mark.timeout(900)
# The trials after the baseline are worse than it at the rung: each is stopped there, while its
# workers train on.
CONFIG = dataclasses.replace(
    learning_rate_study(1e-3, num_trials=4, reduction_factor=16),
    experiment=small_experiment(training__num_images=1024),
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster that one trial fills."""
    with ray_head(tmp_path_factory.mktemp("head"), 2, SLOW_TO_DIE) as found:
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
                kill_named(self.names[struck])
                time.sleep(600)
        return super().forward(images)


def kill_named(name: str) -> None:
    """Kill the processes of this cluster whose names, as Ray writes them, begin so."""
    for process in psutil.Process().parent().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:1] and process.cmdline()[0].startswith(name):
                process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Have as many processes compute all the while."""
    started = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


TRIAL, CONTROLLER = "ray::ImplicitFunc", "ray::TrainController"


@fault(7, "SIGKILL to the trial's process and to the controller, between two stops")
@fault(34, "three stops in a row, SIGKILL between, controllers that outlive their trials by 10 s")
@pytest.mark.parametrize(
    ("names", "processes"),
    [
        ((TRIAL,), 0),
        pytest.param((TRIAL, CONTROLLER), 4 * (os.cpu_count() or 1), marks=pytest.mark.long),
    ],
    ids=["", "busy"],
)
def test_each_stopped_group_leaves_its_cpus_to_the_next(
    address: str, tmp_path: Path, empty_database: Path, names: tuple[str, ...], processes: int
) -> None:
    launch = launch_in(tmp_path, ray_address=address, workers_per_trial=2, max_concurrent=1)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    folder = StudyFolder(tmp_path / "runs" / CONFIG.name).trial(2).path
    extractor = FeatureExtractor(KillsAround(folder, names), "pixels")
    with busy(processes):
        finished = run_small(CONFIG, launch, extractor)
        assert wait_until_free(address) == {}
    assert states(finished) == ["COMPLETE", "PRUNED", "PRUNED", "PRUNED"]
    assert len(list(folder.glob("struck-*"))) == len(names)

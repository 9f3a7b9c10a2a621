"""Trials whose processes are struck in the midst of training."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch

from diffrop.checkpoint_file import read_checkpoint
from diffrop.data import load_dataset
from diffrop.engine.run import FinishedStudy
from diffrop.record.results import TrialResult
from diffrop.training.trainer import Trainer
from tests.made.faults import LOST, fault
from tests.made.ray_head import ray_head, wait_until_free
from tests.made.small import learning_rate_study, small_experiment
from tests.made.strikes import Striker, images_taken
from tests.made.studies import launch_in, run_small, states
from tests.made.trainings import CPU

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("mlflow_tables")]
IMAGES = 512
LEADER = "ray::ImplicitFunc"
"""How Ray calls the process of Tune's that leads a trial's workers."""
# A process is struck at its fifth batch of 32 images, so that each saves at least once before.
CONFIG = dataclasses.replace(
    learning_rate_study(1e-3, scheduler="none", num_trials=2),
    experiment=small_experiment(training__num_images=IMAGES, training__checkpoint_every_images=96),
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=2) as found:
        yield found


def assert_trained_as_if_undisturbed(trial: TrialResult) -> None:
    config = CONFIG.experiment.with_values(trial.values)
    alone = Trainer(config, load_dataset(config.data), CPU)
    alone.train_until(IMAGES)
    path = trial.directory / "training" / f"images_{IMAGES:012d}.safetensors"
    found, expected = read_checkpoint(path).tensors, alone.checkpoint().tensors
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, equal_nan=True)


def assert_whole(finished: FinishedStudy, striker: Striker, address: str) -> None:
    assert states(finished) == ["COMPLETE"] * CONFIG.num_trials
    assert len(striker.strikes) == len(striker.faults)
    assert wait_until_free(address) == {}


@fault(1, "an exception in the training loop")
@fault(2, "SIGKILL in the training loop")
@fault(4, "`os._exit(0)` in the training loop")
def test_trials_struck_in_the_training_loop_train_as_if_undisturbed(
    address: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    striker = Striker(("exception", "exit 0", "kill -9"), tmp_path / "strikes")
    launch = launch_in(tmp_path, ray_address=address, max_failures=3, max_concurrent=1)
    finished = run_small(CONFIG, launch, striker=striker)
    assert_whole(finished, striker, address)
    for trial in finished.result.trials:
        assert_trained_as_if_undisturbed(trial)
    again = images_taken(striker) - IMAGES * CONFIG.num_trials
    assert 0 <= again <= 96 * len(striker.faults)
    record_property(LOST, f"{again} images in three strikes, trained again")


@pytest.mark.long
@fault(5, "SIGSTOP to one of two workers in the training loop")
@fault(2, "SIGKILL to one of two workers in the training loop")
def test_group_struck_in_the_training_loop_goes_on(
    address: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    striker = Striker(("hang", "kill -9"), tmp_path / "strikes")
    launch = launch_in(
        tmp_path, ray_address=address, workers_per_trial=2, worker_timeout_s=8, max_failures=3
    )
    finished = run_small(CONFIG, launch, striker=striker)
    assert_whole(finished, striker, address)
    record_property(LOST, "what two workers trained since their checkpoint, trained again")


def kill_leader(striker: Striker, killed: list[int]) -> None:
    """Kill the process of Tune's that leads a worker group, once the group has trained a while."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not killed:
        time.sleep(0.1)
        if not (striker.folder / "images").exists() or images_taken(striker) < 128:
            continue
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if (process.cmdline() or [""])[0].startswith(LEADER):
                    process.kill()
                    killed.append(process.pid)


@pytest.mark.long
@fault(7, "SIGKILL to Tune's process while its group of two trains")
def test_group_whose_leading_process_is_killed_goes_on_and_frees_its_cpus(
    address: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    striker, killed = Striker((), tmp_path / "strikes"), []
    threading.Thread(target=kill_leader, args=(striker, killed), daemon=True).start()
    launch = launch_in(tmp_path, ray_address=address, workers_per_trial=2, max_failures=3)
    finished = run_small(CONFIG, launch, striker=striker)
    assert len(killed) == 1, "no group trained long enough to be struck"
    assert_whole(finished, striker, address)
    record_property(LOST, "what the group trained since its checkpoint, trained again")

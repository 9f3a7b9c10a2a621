"""Trials of several workers, on a cluster that was there before."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffrop.config import ExperimentConfig
from diffrop.console.screens import QuietScreen
from diffrop.engine.final_training import FinalResult, train_final
from diffrop.engine.run import FinishedStudy
from diffrop.execution.trial import run_trial
from diffrop.record.names import images_of
from diffrop.record.trainings import Row
from diffrop.record.trial_folder import TrialFolder
from tests.made.ray_head import ray_head, wait_until_free
from tests.made.small import learning_rate_study, small_experiment, small_inputs, small_task
from tests.made.studies import launch_in, run_small, states

pytestmark = pytest.mark.timeout(400)
# At this rate trials 1 and 2 are equal, and worse than the baseline at the rung: 2 is pruned.
CONFIG = learning_rate_study(1e-3)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=4) as found:
        yield found


@pytest.fixture(scope="module")
def finished(address: str, tmp_path_factory: pytest.TempPathFactory) -> FinishedStudy:
    """A study whose trials have two workers each; its two trials at a time fill the cluster."""
    folder = tmp_path_factory.mktemp("study")
    launch = launch_in(folder, ray_address=address, workers_per_trial=2, max_concurrent=2)
    return run_small(CONFIG, launch)


def rows(directory: Path) -> list[Row]:
    return TrialFolder(directory).training().curves()


def test_some_trials_are_pruned_and_every_cpu_is_free_again(
    address: str, finished: FinishedStudy
) -> None:
    found = states(finished)
    assert (found[0], found[2]) == ("COMPLETE", "PRUNED")
    pruned = [trial for trial in finished.result.trials if trial.state == "PRUNED"]
    assert all(trial.card is not None and trial.card.images_seen == 64 for trial in pruned)
    assert wait_until_free(address) == {}


@pytest.mark.parametrize("number", [0, 1])
def test_two_workers_give_one_workers_losses_and_scores(
    finished: FinishedStudy, tmp_path: Path, number: int
) -> None:
    two = finished.result.trials[number]
    config = CONFIG.experiment.with_values(two.values)
    run_trial(
        small_task(tmp_path / "alone/t000", config, CONFIG.rungs),
        small_inputs(),
        torch.device("cpu"),
        lambda result: None,
    )
    measures = {"loss/ddpm", "grad_norm", "loss/pcl", "pcl/grad_ratio", "pcl/active_share"}
    expected = {row["images_seen"]: row for row in rows(tmp_path / "alone/t000")}
    found = rows(two.directory)
    assert len(found) >= 2
    for row in found:
        alone = expected[row["images_seen"]]
        assert row.keys() == alone.keys()
        for measure in measures & row.keys():
            assert row[measure] == pytest.approx(alone[measure], rel=1e-5, abs=1e-6)
    score = TrialFolder(two.directory).scores()[0].value
    alone_score = TrialFolder(tmp_path / "alone/t000").scores()[0].value
    assert score == pytest.approx(alone_score, rel=1e-3)


def train_on_two(config: ExperimentConfig, address: str, folder: Path) -> FinalResult:
    launch = launch_in(folder, ray_address=address, workers_per_trial=2)
    directory = folder / "runs/final"
    return train_final(config, small_inputs(), directory, launch, QuietScreen())


def test_final_training_names_the_step_of_a_nan_loss(address: str, tmp_path: Path) -> None:
    config = small_experiment(training__learning_rate=1e30)
    found = train_on_two(config, address, tmp_path)
    assert found.card is None and not found.interrupted
    assert "images_seen" in found.failure


def test_final_training_saves_and_stops_as_asked(address: str, tmp_path: Path) -> None:
    config, folder = small_experiment(training__num_images=200_000), tmp_path / "runs/final"

    def stop() -> None:
        while not (folder / "training/metrics.jsonl").exists():
            time.sleep(0.1)
        (folder / "stop").touch()

    threading.Thread(target=stop, daemon=True).start()
    stopped = train_on_two(config, address, tmp_path)
    assert stopped.interrupted and stopped.card is None and stopped.failure == ""
    newest = sorted((folder / "training").glob("images_*.safetensors"))[-1]
    images = images_of(newest)
    assert images is not None and 0 < images < 200_000

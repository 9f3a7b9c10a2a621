"""What happens to a study when its trials are killed, hang, or produce nonsense."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from diffrop.metrics.features import FeatureExtractor
from tests.made.faults import fault
from tests.made.ray_head import ray_head, wait_until_free
from tests.made.small import learning_rate_study, small_study
from tests.made.strikes import Striker, striking_extractor
from tests.made.studies import launch_in, run_small, states

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("mlflow_tables")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ray_head(tmp_path_factory.mktemp("head"), num_cpus=2) as found:
        yield found


def faulty(tmp_path: Path, *faults: str) -> FeatureExtractor:
    return striking_extractor(Striker(faults, tmp_path / "strikes"))


@fault(1, "an exception while it scores")
@fault(2, "SIGKILL while it scores")
@fault(4, "`os._exit(0)` while it scores")
def test_struck_trials_go_on_and_the_study_ends_whole(address: str, tmp_path: Path) -> None:
    launch = launch_in(tmp_path, ray_address=address, max_failures=3)
    extractor = faulty(tmp_path, "exception", "exit 0", "kill -9")
    finished = run_small(small_study(scheduler="none"), launch, extractor)
    assert states(finished) == ["COMPLETE"] * 3
    assert len(list((tmp_path / "strikes").iterdir())) == 3
    assert wait_until_free(address) == {}


@pytest.mark.long
@fault(2, "SIGKILL to one of two workers")
@fault(5, "SIGSTOP while it scores")
def test_worker_group_survives_a_killed_and_a_hanging_worker(address: str, tmp_path: Path) -> None:
    launch = launch_in(tmp_path, ray_address=address, workers_per_trial=2, worker_timeout_s=8)
    config = small_study(num_trials=2, scheduler="none")
    finished = run_small(config, launch, faulty(tmp_path, "kill -9", "hang"))
    assert states(finished) == ["COMPLETE"] * 2
    assert len(list((tmp_path / "strikes").iterdir())) == 2
    assert wait_until_free(address) == {}


@fault(3, "SIGKILL, and no restarts")
def test_trial_that_fails_too_often_is_failed_and_the_study_goes_on(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    launch = launch_in(tmp_path, ray_address=address, max_failures=0, max_concurrent=1)
    finished = run_small(small_study(scheduler="none"), launch, faulty(tmp_path, "kill -9"))
    assert states(finished) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "max_failures" in finished.result.trials[0].message
    assert "FAIL" in (finished.directory / "trials.csv").read_text()
    assert "Traceback" not in "".join(capfd.readouterr())
    assert "ActorDiedError" in (finished.directory / "study.log").read_text()


class NanNetwork(torch.nn.Module):
    """Gives NaN in the trials' processes."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = os.getpid()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return NaN features, or zeros in the driver."""
        value = 0.0 if os.getpid() == self.driver else float("nan")
        return torch.full((len(images), 8), value)


@fault(11, "an extractor that gives NaN")
def test_nan_score_fails_the_trial_and_is_never_best(address: str, tmp_path: Path) -> None:
    launch = launch_in(tmp_path, ray_address=address)
    finished = run_small(small_study(num_trials=2), launch, FeatureExtractor(NanNetwork(), "nan"))
    assert states(finished) == ["FAIL", "FAIL"]
    assert finished.result.ranked == []
    assert "features of image 0 are not finite" in finished.result.trials[0].message
    assert not (finished.directory / "best.yaml").exists()


@fault(10, "a learning rate of 1e30")
def test_nan_loss_fails_its_trial_naming_the_step_and_others_go_on(
    address: str, tmp_path: Path
) -> None:
    config = learning_rate_study(1e30, scheduler="none")
    finished = run_small(config, launch_in(tmp_path, ray_address=address))
    assert states(finished) == ["COMPLETE", "FAIL", "FAIL"]
    assert "images_seen" in finished.result.trials[1].message

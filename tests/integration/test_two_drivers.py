"""Two drivers, each with a cluster of its own, share one study on a PostgreSQL server."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pandas as pd
import pytest

from diffrop.training.store import CheckpointStore
from tests.made.postgresql import running_server
from tests.made.small import ROOT

pytestmark = pytest.mark.timeout(500)
NUM_TRIALS = 6
OPTIONS = [
    "--study-name",
    "s",
    "--trials",
    str(NUM_TRIALS),
    "--scheduler",
    "none",
    "--images",
    "4096",
    "--num-samples",
    "40",
    "--omegas",
    "0",
    "--confirm",
    "0",
    "--max-concurrent",
    "1",
    "--set",
    "sampling.num_steps=2",
    "--quiet",
    "--storage",
]


def start(folder: Path, url: str, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(ROOT / "studies" / "run_tau_sweep.py"), *OPTIONS, url, *options]
    with (folder / "log").open("ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, cwd=folder)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, optuna.Study]]:
    """The study once both drivers have ended, and the folder with its runs."""
    folder = tmp_path_factory.mktemp("shared")
    with running_server() as url:
        first = start(folder, url)
        deadline = time.monotonic() + 200
        while not list(folder.glob("runs/s/trials/t000/training.key")):
            assert first.poll() is None and time.monotonic() < deadline, read_log(folder)
            time.sleep(0.2)
        second = start(folder, url, "--resume")
        codes = [driver.wait(timeout=400) for driver in (first, second)]
        assert codes == [0, 0], read_log(folder)
        yield folder, optuna.load_study(study_name="s", storage=url)


def read_log(folder: Path) -> str:
    return (folder / "log").read_text()


def test_exactly_the_trials_that_were_asked_for_each_ended_once(
    shared: tuple[Path, optuna.Study],
) -> None:
    folder, study = shared
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    frame = pd.read_csv(folder / "runs/s/trials.csv")
    assert frame["number"].tolist() == list(range(NUM_TRIALS))
    assert frame["rank"].notna().all()


def test_both_drivers_took_their_share(shared: tuple[Path, optuna.Study]) -> None:
    drivers = {trial.user_attrs["driver"] for trial in shared[1].trials}
    assert len(drivers) == 2


def test_no_training_was_done_twice(shared: tuple[Path, optuna.Study]) -> None:
    store = CheckpointStore(shared[0] / "runs/checkpoints")
    assert len(store.folders()) == NUM_TRIALS
    for folder in store.folders():
        assert sum(part.end - part.begin for part in folder.record.segments()) == 4096

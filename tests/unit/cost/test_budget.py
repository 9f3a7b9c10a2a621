import json
import os
from pathlib import Path

import pytest

from analysis.data.folders import training_folder
from diffrop.cost.actual import actual_cost, comparison
from diffrop.cost.budget import Budget, Spending, stretches
from diffrop.execution.placement import units_per_trial
from diffrop.record.cost_account import CostAccount
from diffrop.record.trainings import TrainingSegment
from diffrop.study.config import LaunchConfig
from diffrop.training.identity import identify
from diffrop.training.store import CheckpointStore
from tests.made.small import small_experiment, small_study


def write_training(
    store: Path, digest: str, rows: list[tuple[int, int, float]], parent: str | None = None
) -> Path:
    """A training whose stretches (from, to, seconds) ended at the time that `to` names."""
    folder = CheckpointStore(store).open(identify(small_experiment(), 2, digest, parent))
    for begin, end, seconds in rows:
        folder.add_segment(
            TrainingSegment(begin, end, seconds, workers=2, gpus=0, time=float(end))
        )
    with (folder.path / "cost.jsonl").open("a") as file:
        file.write('{"from": 9, "to"')  # torn
    return folder.path


def write_trial(study: Path, name: str, training: Path, scores: dict[int, float]) -> Path:
    """A trial linked to its training, with a score of so many seconds at each rung."""
    trial = study / name
    (trial / "scores").mkdir(parents=True)
    (trial / "training").symlink_to(os.path.relpath(training, trial))
    for images, seconds in scores.items():
        card = {
            "images_seen": images,
            "time": 1000.0 + images,
            "samples_drawn": 10,
            "seconds": {"sampling": seconds, "features": 0.0, "metrics": 0.0},
        }
        (trial / "scores" / f"images_{images:012d}.json").write_text(json.dumps(card))
    return trial


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A trunk of 64 images, two forks of it to 128, and one of these confirmed."""
    store, study = tmp_path / "checkpoints", tmp_path / "small"
    trunk = write_training(store, "trunk", [(0, 64, 36.0), (64, 128, 360.0)])
    write_trial(study, "trials/t000", trunk, {64: 3.6, 128: 7.2})
    fork = write_training(store, "fork", [(64, 128, 72.0)], f"{trunk.name}-64")
    write_trial(study, "trials/t001", fork, {128: 7.2})
    write_trial(study, "trials/t002", fork, {128: 7.2})  # the same training once more
    again = write_training(store, "again", [(0, 128, 108.0)])
    write_trial(study, "confirm/t001-s0", again, {128: 7.2})
    return study


def test_training_counts_with_what_it_forks_from(study: Path) -> None:
    trunk, fork = (training_folder(study / "trials" / name) for name in ("t000", "t001"))
    found = [(key, part.begin, part.end) for key, part in stretches(fork)]
    assert found == [(fork.name, 64, 128), (trunk.name, 0, 64)]


def test_shared_trainings_are_charged_once(study: Path) -> None:
    ledger = CostAccount(units=2)
    ledger.settle(study / "trials/t001")
    assert ledger.spending() == pytest.approx(2 * (36 + 72 + 7.2) / 3600)
    for name in ("t001", "t002"):  # settled twice
        ledger.settle(study / "trials" / name)
    assert ledger.spending() == pytest.approx(2 * (36 + 72 + 14.4) / 3600)
    ledger.settle(study / "trials/t000")
    assert ledger.spending() == pytest.approx(2 * (36 + 360 + 72 + 25.2) / 3600)


def test_trainings_of_earlier_studies_are_free(study: Path) -> None:
    ledger = CostAccount(units=2, since=100.0)  # the trunk's first stretch ended at 64
    ledger.settle(study / "trials/t001")
    assert ledger.spending() == pytest.approx(2 * (72 + 7.2) / 3600)


def test_running_trial_counts_from_the_last_that_it_wrote(study: Path) -> None:
    ledger = CostAccount(units=2)
    trial = study / "trials/t001"  # its last score is of 1128
    assert ledger.spending({trial: 500.0}, now=1148.0) == pytest.approx(
        2 * (36 + 72 + 7.2 + 20) / 3600
    )
    fresh = study / "trials/t009"
    assert CostAccount(units=2).spending({fresh: 500.0}, now=600.0) == pytest.approx(
        2 * 100 / 3600
    )


def test_budget_refuses_once_a_limit_is_reached_and_says_which() -> None:
    budget = Budget(hours=2.0, wall_s=100.0)
    assert budget.refusal(Spending(hours=1.9, wall_s=99.0)) == ""
    assert budget.refusal(Spending(hours=2.1)) == "the budget of 2 GPU-hours has 2.1 spent"
    assert "100 seconds has 100 spent" in budget.refusal(Spending(wall_s=100.0))
    assert Budget().refusal(Spending(hours=1e9, wall_s=1e9)) == ""


def test_budget_counts_workers_where_there_is_no_gpu() -> None:
    launch = LaunchConfig(budget_gpu_hours=1.0, workers_per_trial=4)
    assert Budget.of(small_study(), launch).unit == "worker-hours"
    assert units_per_trial(launch) == 4
    shared = LaunchConfig(workers_per_trial=2, gpus_per_worker=1.0)
    assert units_per_trial(shared) == 2
    assert units_per_trial(LaunchConfig(gpus_per_worker=0.5)) == 0.5
    assert Budget.of(small_study(), shared).unit == "GPU-hours"


def test_fact_holds_what_the_folders_say(study: Path) -> None:
    launch = LaunchConfig(workers_per_trial=2, price_per_gpu_hour=10.0)
    fact = actual_cost(study, small_study(), launch, wall_s=60.0)
    first, last = fact["rungs"]
    assert (first["trials"], first["training_s"], first["trained"]) == (1, 36.0, 64)
    assert (last["trials"], last["training_s"], last["trained"]) == (3, 432.0, 128)
    assert fact["confirm"]["training_s"] == 108.0
    assert fact["trials"] == 3
    assert fact["samples"] == 50
    assert fact["images"] == 320
    hours = 2 * (36 + 432 + 108 + 3.6 + 4 * 7.2) / 3600
    assert fact["worker_hours"] == pytest.approx(hours)
    assert fact["cost"] == pytest.approx(10 * hours)
    rows = comparison({**fact, "confirm": None}, fact)
    assert ("trials at 128 images", "3", "3") in rows
    assert ("trainings to confirm", "0", "1") in rows

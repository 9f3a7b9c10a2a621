import datetime
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffrop.cost.budget import Budget, BudgetTracker
from diffrop.execution.placement import units_per_trial
from diffrop.record.cost import CostRecord
from diffrop.record.json_files import write_record
from diffrop.record.result_reader import ResultReader
from diffrop.study.config import LaunchConfig
from tests.made.costly_study import segment
from tests.made.scores import score_card
from tests.made.small import small_study
from tests.made.stored_study import MadeTrial, store_study, store_training


def test_budget_refuses_once_a_limit_is_reached_and_says_which() -> None:
    budget = Budget(hours=2.0, wall_s=100.0)
    assert budget.refusal(hours=1.9, wall_s=99.0) == ""
    assert budget.refusal(hours=2.1, wall_s=0.0) == "the budget of 2 GPU-hours has 2.1 spent"
    assert "100 seconds has 100 spent" in budget.refusal(hours=0.0, wall_s=100.0)
    assert Budget().refusal(hours=1e9, wall_s=1e9) == "" and not Budget().bounded


def test_share_that_is_spent_is_that_of_the_nearer_limit() -> None:
    budget = Budget(hours=2.0, wall_s=100.0)
    assert budget.spent(hours=1.8, wall_s=50.0) == 0.9
    assert budget.spent(hours=0.0, wall_s=120.0) == 1.2
    assert Budget(wall_s=100.0).spent(hours=9.0, wall_s=25.0) == 0.25
    assert Budget().spent(hours=1e9, wall_s=1e9) == 0.0


def test_budget_counts_workers_where_there_is_no_gpu() -> None:
    launch = LaunchConfig(budget_gpu_hours=1.0, workers_per_trial=4)
    assert Budget.of(launch).unit == "worker-hours"
    assert units_per_trial(launch) == 4
    shared = LaunchConfig(workers_per_trial=2, gpus_per_worker=1.0)
    assert units_per_trial(shared) == 2
    assert units_per_trial(LaunchConfig(gpus_per_worker=0.5)) == 0.5
    assert Budget.of(shared).unit == "GPU-hours"


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultReader:
    """A trial that began 500 s ago and wrote a score 20 s ago, and one that wrote nothing yet.

    The clocks stand still from then on, so that a slow machine changes no sum.
    """
    now, today = time.time(), datetime.datetime.now()
    clock = SimpleNamespace(time=lambda: now, monotonic=lambda: 0.0)
    monkeypatch.setattr("diffrop.cost.budget.time", clock)
    calendar = SimpleNamespace(datetime=SimpleNamespace(now=lambda: today))
    monkeypatch.setattr("diffrop.record.result_reader.datetime", calendar)
    card = score_card(50.0, 64, time=now - 20, seconds={"sampling": 36.0})
    trials = [
        MadeTrial(number=0, state="RUNNING", cards=[card], training="key", duration_s=500.0),
        MadeTrial(number=1, state="RUNNING", duration_s=100.0),
    ]
    config = small_study()
    store, study = store_study(tmp_path, config, trials)
    write_record(store.folder.cost, CostRecord(began=now - 500))
    store_training(store.folder.store, "key", segments=[segment(0, 64, 180.0, time=now - 60)])
    return ResultReader(study, store.folder, config)


def test_running_trial_counts_from_the_last_that_it_wrote(running: ResultReader) -> None:
    launch = LaunchConfig(budget_gpu_hours=0.2, workers_per_trial=2)
    tracker = BudgetTracker(launch, running)
    counted = 2 * (180 + 36) / 3600
    assert tracker.hours() == pytest.approx(counted, abs=0.01)  # it was launched just now
    assert tracker.refusal() == ""
    tracker._launched -= 1000
    assert tracker.hours() == pytest.approx(counted + 2 * (20 + 100) / 3600, abs=0.005)
    tracker._launched += 950
    assert tracker.hours() == pytest.approx(counted + 2 * (20 + 50) / 3600, abs=0.005)


def test_budget_that_is_spent_lets_nothing_begin(running: ResultReader) -> None:
    launch = LaunchConfig(budget_gpu_hours=0.1, workers_per_trial=2)
    refusal = BudgetTracker(launch, running).refusal()
    assert refusal.startswith("the budget of 0.1 worker-hours has 0.12")
    assert BudgetTracker(launch, running).spent() == pytest.approx(1.2, abs=0.1)
    assert BudgetTracker(LaunchConfig(), running).refusal() == ""
    assert BudgetTracker(LaunchConfig(), running).spent() == 0.0

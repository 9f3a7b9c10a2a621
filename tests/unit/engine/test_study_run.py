from pathlib import Path

from diffrop.study.config import LaunchConfig
from tests.made.study_runs import SaidScreen, study_run


def test_tasks_heed_the_requests_of_the_driver_that_runs_them(tmp_path: Path) -> None:
    run = study_run(tmp_path, SaidScreen(), fork_from="baseline@32")
    for task in (run.tasks.trial(0, {}), run.tasks.prefix(0)):
        assert task is not None and task.driver == run.drivers.own


def test_nothing_begins_once_the_study_was_asked_to_stop(tmp_path: Path) -> None:
    run = study_run(tmp_path, SaidScreen())
    assert run.may_begin
    (run.folder.path / "stop").touch()
    assert not run.may_begin


def test_nothing_begins_once_the_budget_is_spent(tmp_path: Path) -> None:
    assert not study_run(tmp_path, SaidScreen(), refusal="spent").may_begin


def test_drivers_take_turns_where_they_share_a_database(tmp_path: Path) -> None:
    assert study_run(tmp_path / "one", SaidScreen()).peers.lock is None
    launch = LaunchConfig(storage="postgresql://server/db")
    run = study_run(tmp_path / "two", SaidScreen(), launch)
    assert run.peers.lock == run.folder.path / "ask.lock"
    assert run.peers.driver == run.drivers.own


def test_all_trials_remain_before_the_first(tmp_path: Path) -> None:
    assert study_run(tmp_path, SaidScreen(), num_trials=5).num_remaining == 5

import errno
import os
from pathlib import Path

import pytest

from diffrop.errors import OutageError
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


def test_outage_past_its_limit_asks_the_trials_to_stop_and_is_remembered(tmp_path: Path) -> None:
    run = study_run(tmp_path, SaidScreen(), launch=LaunchConfig(outage_wait_s=0))

    def write() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert run.may_begin and not run.outage
    with pytest.raises(OutageError, match=r"no room on the disk of .*/small.*--resume"):
        run.write(write)
    assert run.stop.requested and not run.may_begin
    assert "no room on the disk" in run.outage
    assert list(run.folder.path.glob("stop.*"))  # which the trials look for
    assert run.write(lambda: "written") == "written"  # what can be written still is

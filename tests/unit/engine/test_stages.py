"""The stages of a launch, without a cluster."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import optuna
import pytest
import torch
from ray.tune.search import Searcher

from diffrop.confirmation.plan import Candidate, plan_confirmation, read_cards
from diffrop.engine.drivers import Drivers, StopSignal
from diffrop.engine.stages import Stages
from diffrop.errors import StudyError
from diffrop.execution.trial import TrialTask, run_trial
from diffrop.record.json_files import read_record
from diffrop.record.results import StudyResult, TrialResult
from diffrop.record.study_store import StudyStore
from diffrop.study.config import LaunchConfig
from tests.made.checkpoints import damage
from tests.made.small import small_inputs, small_study
from tests.unit.record.test_results import card


class SaidScreen:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, sentence: str) -> None:
        """Keep it."""
        self.said.append(sentence)


class HereStages(Stages):
    """Runs tasks one after another in this process."""

    def _run_given(self, tasks: Sequence[TrialTask]) -> dict[int, str]:
        for task in tasks:
            run_trial(task, self.inputs, torch.device("cpu"), lambda result: None)
        return {}


class AskingStages(Stages):
    """Asks for two trials at once in each search, and ends the first one."""

    asked: Any = None

    def _tune(self, source: Any, searcher: Searcher, *rest: Any) -> None:
        self.asked = [searcher.suggest("a"), searcher.suggest("b")]
        searcher.on_trial_complete("a", {"failure": "a fault"})


def stages(
    folder: Path, screen: SaidScreen, kind: type[Stages] = HereStages, **changes: object
) -> Stages:
    config = small_study(**changes)  # type: ignore[arg-type]
    unused: Any = None
    return kind(
        config=config,
        launch=LaunchConfig(),
        store=StudyStore(folder, config.name),
        inputs=small_inputs(),
        study=optuna.create_study(),
        observer=unused,
        screen=screen,  # type: ignore[arg-type]
        drivers=Drivers(folder / "drivers"),
        stop=StopSignal(folder),
        affordable=lambda: True,
        concurrent=1,
    )


def test_damaged_prefix_is_trained_again_before_trials_fork_from_it(tmp_path: Path) -> None:
    screen = SaidScreen()
    found = stages(tmp_path, screen, fork_from="baseline@32")
    found._train_prefixes({0})
    found._train_prefixes({0})
    assert screen.said == ["Training the baseline to 32 images, where trials fork."]  # once
    prefix = found.maker.prefix(0)
    assert prefix is not None
    folder = prefix.store.folder(prefix.key)
    damage(folder.path_of(32), "flip")
    with pytest.warns(UserWarning, match="damaged") as warned:
        found._train_prefixes({0})
    assert len(warned) == 1
    assert len(screen.said) == 2 and folder.holds(32)
    run_trial(
        found.maker.trial(1, {"contrastive.form": "hinge"}),
        found.inputs,
        torch.device("cpu"),
        lambda result: None,
    )


def test_confirmation_that_cannot_begin_writes_down_what_is_left(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen())
    found.launch = LaunchConfig(confirm=1, confirm_seeds=2)
    found.study, found.affordable = optuna.create_study(), lambda: False
    found.stop = StopSignal(tmp_path, "driver")
    found.store.path.mkdir()
    trials = [
        TrialResult(
            number=number,
            state="COMPLETE",
            values={"contrastive.form": form},
            rank=2 - number,
            directory=tmp_path,
            card=card(50.0 - number),
            duration_s=1.0,
            message="",
        )
        for number, form in enumerate(("none", "hinge"))
    ]
    result = StudyResult(found.config, trials)
    found.confirm(result)
    book = read_record(found.store.path, "confirm.json")
    assert (book["num_trials"], book["num_left"], book["best"]) == (2, 4, None)
    assert found.study.user_attrs["confirm"] == book
    confirmation = found._confirmation(result)
    assert confirmation is not None and not confirmation.leaders[0].inherited


class StoppedStages(HereStages):
    """Does what `rounds` says when it is to run tasks, and runs them once that is exhausted."""

    rounds: Iterator[Callable[[], object]] = iter(())

    def _run_given(self, tasks: Sequence[TrialTask]) -> dict[int, str]:
        act = next(self.rounds, None)
        if act is None:
            return super()._run_given(tasks)
        act()
        return {}


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoppedStages:
    monkeypatch.setattr("diffrop.engine.stages.COOL_DOWN_S", 0.0)
    found = stages(tmp_path, SaidScreen(), StoppedStages, fork_from="baseline@32")
    assert isinstance(found, StoppedStages)
    return found


def test_prefix_that_a_nodes_notice_stopped_is_run_again(stopped: StoppedStages) -> None:
    stopped.rounds = iter([lambda: None, lambda: None])
    stopped._train_prefixes({0})
    prefix = stopped.maker.prefix(0)
    assert prefix is not None and prefix.store.folder(prefix.key).holds(32)


def test_prefix_that_is_never_done_ends_the_launch_before_trials_fail(
    stopped: StoppedStages,
) -> None:
    stopped.rounds = itertools.repeat(lambda: None)
    with pytest.raises(StudyError, match="was stopped 10 times; allowed: --resume once no node"):
        stopped._train_prefixes({0})


def test_stop_in_a_prefix_is_no_fault(stopped: StoppedStages, tmp_path: Path) -> None:
    stopped.rounds = itertools.repeat((tmp_path / "stop").touch)
    stopped._train_prefixes({0})
    assert stopped.screen.said == ["Training the baseline to 32 images, where trials fork."]  # type: ignore[attr-defined]


class LosingStages(Stages):
    """Loses the worker of every task more often than is allowed."""

    def _tune(self, source: Any, searcher: Searcher, *rest: Any) -> None:
        while isinstance(searcher.suggest("a"), dict):
            searcher.on_trial_complete("a", None, error=True)


def test_prefix_whose_workers_are_lost_ends_the_launch(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), LosingStages, fork_from="baseline@32")
    with pytest.raises(StudyError, match=r"fork from failed: a worker failed .*seed-0"):
        found._train_prefixes({0})


def test_retraining_whose_workers_are_lost_has_failed(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), LosingStages)
    found.observer = Mock()
    baseline, leader = (
        Candidate(number=number, name="", values={}, omega=0.0, sampler="ddim-2")
        for number in (0, 1)
    )
    confirmation = plan_confirmation(found.config, LaunchConfig(), baseline, [leader])
    found._train_again(list(confirmation.points())[:2])
    cards = read_cards(confirmation, found.maker.confirmation)
    assert cards == {(0, 0): None, (1, 0): None}


def test_baseline_stage_begins_nothing_but_the_baseline(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), AskingStages)
    assert isinstance(found, AskingStages)
    found._finish_baseline()
    point, nothing = found.asked
    assert point["baseline"] and not isinstance(nothing, dict)
    assert [trial.state.name for trial in found.study.trials] == ["FAIL"]
    found.asked = None
    found._finish_baseline()
    assert found.asked is None  # it has ended


def test_tasks_heed_the_requests_of_the_driver_that_runs_them(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), fork_from="baseline@32")
    for task in (found.maker.trial(0, {}), found.maker.prefix(0)):
        assert task is not None and task.driver == found.drivers.own

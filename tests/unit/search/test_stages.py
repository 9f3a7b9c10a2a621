"""The stages of a launch, without a cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from ray.tune.search import Searcher

from diffrop.search.config import LaunchConfig
from diffrop.search.drivers import Drivers, StopSignal
from diffrop.search.stages import Stages
from diffrop.search.store import StudyStore
from diffrop.search.trial import TrialTask, run_trial
from tests.small import small_inputs, small_study
from tests.unit.training.test_checkpoint import damage


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
        config=config, launch=LaunchConfig(), store=StudyStore(folder, config.name),
        inputs=small_inputs(), study=optuna.create_study(), observer=unused, screen=screen,  # type: ignore[arg-type]
        drivers=Drivers(folder / "drivers"), stop=StopSignal(folder), affordable=lambda: True, concurrent=1,
    )  # fmt: skip


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
        found.maker.trial(1, {"contrastive.form": "hinge"}), found.inputs, torch.device("cpu"),
        lambda result: None,
    )  # fmt: skip


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

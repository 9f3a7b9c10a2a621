"""The stages of a launch, without a cluster."""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.tune.search import Searcher

from diffrop.confirmation.plan import read_cards
from diffrop.engine.repair import set_damaged_files_aside
from diffrop.engine.stages import Stages, tune_resources
from diffrop.errors import FaultError
from diffrop.execution.cluster import resources_per_trial
from diffrop.execution.trial import TrialTask, run_trial
from diffrop.record.codec import encode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.json_files import read_record
from diffrop.record.results import StudyResult, TrialResult
from diffrop.study.config import LaunchConfig
from tests.made.checkpoints import damage
from tests.made.confirmations import confirmation
from tests.made.faults import fault
from tests.made.scores import score_card
from tests.made.stored_study import MadeTrial
from tests.made.study_runs import SaidScreen, study_run


class HereStages(Stages):
    """Runs tasks one after another in this process."""

    def _run_fixed(self, tasks: Sequence[TrialTask]) -> dict[int, str]:
        for task in tasks:
            run_trial(task, self.run.inputs, torch.device("cpu"), lambda result: None)
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
    """The stages of a study in `folder / "small"`, whose stop is asked for there."""
    return kind(study_run(folder, screen, **changes))  # type: ignore[arg-type]


@fault(40, "a damaged checkpoint at the fork")
def test_damaged_prefix_is_trained_again_before_trials_fork_from_it(tmp_path: Path) -> None:
    screen = SaidScreen()
    found = stages(tmp_path, screen, fork_from="baseline@32")
    found._train_prefixes({0})
    found._train_prefixes({0})
    assert screen.said == ["Training the baseline to 32 images, where trials fork."]  # once
    prefix = found.run.tasks.prefix(0)
    assert prefix is not None
    folder = prefix.store.folder(prefix.key)
    damage(folder.path_of(32), "flip")
    with pytest.warns(UserWarning, match="damaged") as warned:
        found._train_prefixes({0})
    assert len(warned) == 1
    assert len(screen.said) == 2 and folder.holds(32)
    run_trial(
        found.run.tasks.trial(1, {"contrastive.form": "hinge"}),
        found.run.inputs,
        torch.device("cpu"),
        lambda result: None,
    )


@fault(29, "scores of trials that ended emptied and deleted")
def test_trials_that_lost_their_scores_are_scored_again_and_not_trained(tmp_path: Path) -> None:
    screen = SaidScreen()
    found = stages(tmp_path, screen)
    run = found.run
    cards = []
    for number, values in enumerate(({"contrastive.form": "none"}, {"contrastive.form": "hinge"})):
        task = run.tasks.trial(number, values)
        run_trial(task, run.inputs, torch.device("cpu"), lambda result: None)
        cards.append(task.folder.scores())
        made = MadeTrial(number=number, values=values, cards=cards[-1], training=task.key)
        run.study.add_trial(made.frozen(["fid/all"]))
    assert found.with_lost_scores() == []
    baseline, other = run.folder.trial(0), run.folder.trial(1)
    baseline.score_path(128).write_text("")
    shutil.rmtree(other.scores_path)
    other.training().checkpoint_path(64).unlink()
    segments = [trial.training().segments() for trial in (baseline, other)]
    with pytest.warns(UserWarning, match="set aside as images_0+128.json.damaged"):
        set_damaged_files_aside(run)
    lost = found.with_lost_scores()
    assert [[rung.images for rung in task.rungs] for task in lost] == [[128], [128]]
    found.score_again(lost)
    assert screen.said == ["Scoring again, since their scores were lost: t000, t001."]
    assert [trial.score(128) for trial in (baseline, other)] == [
        replace(trial[-1], time=again.time, seconds=again.seconds)
        for trial, again in zip(cards, [baseline.scores()[-1], other.scores()[-1]], strict=True)
    ]
    assert [trial.training().segments() for trial in (baseline, other)] == segments
    assert found.with_lost_scores() == []


def test_confirmation_that_cannot_begin_writes_down_what_is_left(tmp_path: Path) -> None:
    launch = LaunchConfig(confirm=1, confirm_seeds=2)
    found = stages(tmp_path, SaidScreen(), launch=launch, refusal="spent")
    trials = [
        TrialResult(
            number=number,
            state="COMPLETE",
            values={"contrastive.form": form},
            rank=2 - number,
            directory=tmp_path,
            card=score_card(50.0 - number),
            duration_s=1.0,
            message="",
        )
        for number, form in enumerate(("none", "hinge"))
    ]
    result = StudyResult(found.run.config, trials)
    found.confirm(result)
    record = read_record(found.run.folder.confirmation, ConfirmationRecord)
    assert record is not None
    assert (record.num_trials, record.num_left, record.best) == (2, 4, None)
    assert found.run.study.user_attrs["confirm"] == encode(record)
    plan = found._confirmation(result)
    assert plan is not None and not plan.leaders[0].inherited


class StoppedStages(HereStages):
    """Does what `rounds` says when it is to run tasks, and runs them once that is exhausted."""

    rounds: Iterator[Callable[[], object]] = iter(())

    def _run_fixed(self, tasks: Sequence[TrialTask]) -> dict[int, str]:
        act = next(self.rounds, None)
        if act is None:
            return super()._run_fixed(tasks)
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
    prefix = stopped.run.tasks.prefix(0)
    assert prefix is not None and prefix.store.folder(prefix.key).holds(32)


@fault(41, "a stop at each attempt")
def test_prefix_that_is_never_done_ends_the_launch_before_trials_fail(
    stopped: StoppedStages,
) -> None:
    stopped.rounds = itertools.repeat(lambda: None)
    with pytest.raises(FaultError, match=r"was stopped 10 times\. To fix: --resume once no node"):
        stopped._train_prefixes({0})


def test_stop_in_a_prefix_is_no_fault(stopped: StoppedStages, tmp_path: Path) -> None:
    stopped.rounds = itertools.repeat((tmp_path / "small/stop").touch)
    stopped._train_prefixes({0})
    said = stopped.run.screen.said  # type: ignore[attr-defined]
    assert said[0] == "Training the baseline to 32 images, where trials fork."
    assert not any("Training" in sentence for sentence in said[1:])


class LosingStages(Stages):
    """Loses the worker of every task more often than is allowed."""

    def _tune(self, source: Any, searcher: Searcher, *rest: Any) -> None:
        while isinstance(searcher.suggest("a"), dict):
            searcher.on_trial_complete("a", None, error=True)


@fault(41, "workers that are lost each time")
def test_prefix_whose_workers_are_lost_ends_the_launch(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), LosingStages, fork_from="baseline@32")
    with pytest.raises(FaultError, match=r"fork from failed: a worker failed .*seed-0"):
        found._train_prefixes({0})


def test_retraining_whose_workers_are_lost_has_failed(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), LosingStages)
    plan = confirmation(1)
    found._train_again(list(plan.points())[:2])
    cards = read_cards(plan, found._retraining)
    assert cards == {(0, 0): None, (1, 0): None}


def test_baseline_stage_begins_nothing_but_the_baseline(tmp_path: Path) -> None:
    found = stages(tmp_path, SaidScreen(), AskingStages)
    assert isinstance(found, AskingStages)
    found._finish_baseline()
    point, nothing = found.asked
    assert point["baseline"] and not isinstance(nothing, dict)
    assert [trial.state.name for trial in found.run.study.trials] == ["FAIL"]
    found.asked = None
    found._finish_baseline()
    assert found.asked is None  # it has ended


@pytest.mark.parametrize(("workers", "gpus"), [(1, 0.0), (1, 0.5), (2, 0.0), (3, 2.0)])
def test_tune_holds_all_that_a_trial_takes(workers: int, gpus: float) -> None:
    launch = LaunchConfig(workers_per_trial=workers, cpus_per_worker=2, gpus_per_worker=gpus)
    held = tune_resources(launch)
    found = held.required_resources
    assert (found["CPU"], found.get("GPU", 0)) == resources_per_trial(launch)
    # One bundle a worker, so that each is on one node; the trial itself takes nothing beside them.
    assert len(held.bundles) == workers
    assert held.head_cpus == (2 if workers == 1 else 0)

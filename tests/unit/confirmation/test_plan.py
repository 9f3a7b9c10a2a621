import dataclasses
import json
from functools import partial
from pathlib import Path

import pytest
import torch

from diffrop.confirmation.assessment import assess
from diffrop.confirmation.conclusion import confirmation_record
from diffrop.confirmation.plan import (
    ConfirmPoint,
    fresh_seeds,
    missing_points,
    plan_confirmation,
    read_cards,
    record_failure,
)
from diffrop.cost.actual import actual_cost
from diffrop.errors import StudyError
from diffrop.execution.tasks import TaskMaker
from diffrop.execution.trial import TrialTask, run_trial
from diffrop.record.codec import decode, encode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.record.cost_account import CostAccount
from diffrop.record.study_folder import StudyFolder
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.space import Parameter, SearchSpace
from tests.made.confirmations import candidate, confirmation, retraining_card
from tests.made.small import small_inputs, small_study
from tests.made.stored_study import store_trial


def retraining(maker: TaskMaker, point: ConfirmPoint) -> TrialTask:
    return maker.retraining(point.number, point.seed, point.config, point.rung)


def test_points_share_their_fresh_seeds_and_fix_the_sampling_choice() -> None:
    study = small_study()
    points = list(confirmation(study=study).points())
    names = [f"t{number:03d}-s{seed}" for seed in range(3) for number in (0, 3, 5)]
    assert [point.name for point in points] == names
    for seed in range(3):
        part = [point.config for point in points if point.seed == seed]
        assert len({(c.training.seed, c.evaluation.seed) for c in part}) == 1
    trained = {point.config.training.seed for point in points}
    sampled = {point.config.evaluation.seed for point in points}
    assert len(trained) == len(sampled) == 3
    assert study.experiment.training.seed not in trained
    assert study.experiment.evaluation.seed not in sampled
    assert {point.config.evaluation.guidance_scales for point in points} == {(0.5,)}
    assert all(point.rung == study.rungs[-1] for point in points)
    assert [point.config.contrastive.form for point in points[:3]] == ["none", "hinge", "hinge"]


def test_seeds_that_the_search_used_are_drawn_again() -> None:
    first, _ = fresh_seeds(small_study(), 0)
    seed = Parameter(name="training.seed", choices=(0, first), source="the test's own")
    study = small_study()
    searched = StudyConfig.from_dict(
        {**study.to_dict(), "space": SearchSpace(parameters=(seed,)).to_dict()}
    )
    again, _ = fresh_seeds(searched, 0)
    assert again not in (0, first)


def test_resumed_confirmation_keeps_the_number_of_looks() -> None:
    bounded = confirmation(3, launch=LaunchConfig(confirm=1, budget_wall_s=100.0))
    before = confirmation_record(assess(bounded, {}), num_trials=9, num_left=6)
    leaders = [candidate(3)]
    plan = plan_confirmation(small_study(), LaunchConfig(), candidate(0), leaders, before)
    assert before.max_seeds == plan.max_seeds == 9


def test_confirmation_of_an_earlier_version_goes_on_under_its_rule() -> None:
    """Its file names no rule: a half of alpha, a quarter, ..., and at the last look the rest."""
    bounded = confirmation(3, launch=LaunchConfig(confirm=1, budget_wall_s=100.0))
    record = confirmation_record(assess(bounded, {}), num_trials=9, num_left=6)
    stored = {key: value for key, value in encode(record).items() if key != "spending"}
    before = decode(ConfirmationRecord, json.loads(json.dumps(stored)))
    before = dataclasses.replace(before, alpha=0.1)
    launch, leaders = LaunchConfig(confirm=1, budget_wall_s=100.0), [candidate(3)]
    plan = plan_confirmation(small_study(), launch, candidate(0), leaders, before)
    levels = [0.1 * 0.5 ** min(look, 6) for look in range(1, 8)]
    assert [plan.level(count) for count in range(3, 10)] == levels
    again = confirmation_record(assess(plan, {}), num_trials=9, num_left=6)
    assert (again.alpha, again.spending) == (0.1, "geometric")
    assert bounded.spending == record.spending == "half_then_equal"
    other = dataclasses.replace(launch, confirm_seeds=4)  # other looks, which it had not begun
    fresh = plan_confirmation(small_study(), other, candidate(0), leaders, before)
    assert (fresh.alpha, fresh.spending, fresh.max_seeds) == (0.05, "half_then_equal", 12)


def test_confirmation_under_an_unknown_rule_is_refused() -> None:
    record = confirmation_record(assess(confirmation(3), {}), num_trials=9, num_left=6)
    before = dataclasses.replace(record, spending="haybittle")
    with pytest.raises(StudyError, match=r"'haybittle'; allowed: geometric, half_then_equal\. To"):
        plan_confirmation(small_study(), LaunchConfig(), candidate(0), [candidate(3)], before)


def test_finished_points_are_read_back_and_only_missing_ones_are_trained(tmp_path: Path) -> None:
    plan, inputs = confirmation(3), small_inputs()
    maker = TaskMaker(plan.study, LaunchConfig(), tmp_path, inputs.dataset.train_digest)
    tasks = {point.key: retraining(maker, point) for point in plan.points()}
    other = retraining_card(50.0, omega=2.0)
    for key, card in {(0, 1): retraining_card(50.0), (3, 0): other}.items():
        store_trial(tasks[key].folder, maker.store.root, tasks[key].key, [card])
    record_failure(tasks[3, 1], "non-finite loss")
    found = read_cards(plan, partial(retraining, maker))
    assert {key: known and known.value for key, known in found.items()} == {
        (0, 1): 50.0,
        (3, 1): None,
    }
    names = [point.name for point in missing_points(plan, found)]
    assert names == ["t000-s0", "t003-s0", "t000-s2", "t003-s2"]
    wider = dataclasses.replace(maker, launch=LaunchConfig(workers_per_trial=2))
    assert read_cards(plan, partial(retraining, wider)) == {}  # other trainings: they do not pair


def test_trained_points_are_scored_paired_and_charged(tmp_path: Path) -> None:
    study = small_study(fork_from="baseline@64")
    launch = LaunchConfig(confirm=1, confirm_seeds=2)
    plan = plan_confirmation(study, launch, candidate(0), [candidate(3, omega=1.0)])
    inputs = small_inputs()
    folder = tmp_path / study.name
    maker = TaskMaker(study, launch, folder, inputs.dataset.train_digest)
    device = torch.device("cpu")
    for seed in {point.config.training.seed for point in plan.points()}:
        prefix = maker.prefix(seed)
        assert prefix is not None
        run_trial(prefix, inputs, device, lambda result: None)
    for point in plan.points():
        run_trial(retraining(maker, point), inputs, device, lambda result: None)
    found = read_cards(plan, partial(retraining, maker))
    assert missing_points(plan, found) == []
    outcome = assess(plan, found)
    assert outcome.leaders[0].seeds == (0, 1)
    assert not plan.conditional_on_prefix
    actual = actual_cost(StudyFolder(folder), study, launch, wall_s=1.0, since=0.0)
    assert actual.prefix is not None and actual.confirm is not None
    assert actual.prefix.trained == 2 * 64  # once for each seed
    assert actual.confirm.trained == 4 * 64
    assert actual.confirm.trials == 4
    assert actual.samples == actual.confirm.samples == 4 * 40  # one choice, no search
    account = CostAccount.of(StudyFolder(folder), 0.0)
    assert account.hours == pytest.approx(actual.worker_hours)

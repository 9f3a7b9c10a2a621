import dataclasses

import pytest

from diffrop.cost.plan import make_plan
from diffrop.scoring.sampling_search import plan_rounds, samples_at_most
from diffrop.study.config import LaunchConfig
from diffrop.study.sampling_choice import sampling_choices
from tests.made.plans import NODES, PROBE
from tests.made.small import small_experiment, small_study


def test_plan_of_a_study_without_stops_is_its_images_and_samples() -> None:
    study = small_study(scheduler="none", num_trials=5)
    plan = make_plan(study, LaunchConfig(), 10, PROBE, NODES)
    (rung,) = plan.rungs
    assert (rung.images, rung.trials, rung.trained) == (128, 5, 640)
    assert rung.training_s == pytest.approx(640 / 64)
    rounds = plan_rounds("halving", sampling_choices(study.experiment), 40, 10)
    samples = samples_at_most(rounds)
    assert rung.samples == 5 * samples
    evaluations = 2 * (1 + 2) / 2  # two steps; omega 1 takes two evaluations, omega 0 one
    assert rung.scoring_s == pytest.approx(5 * samples * (evaluations / 160 + 1 / 40))
    seconds = rung.training_s + rung.scoring_s
    assert plan.hours == pytest.approx(seconds / 3600)
    assert plan.wall_s == pytest.approx(seconds / 2)


def test_confirmation_trains_leaders_and_baseline_with_each_seed() -> None:
    launch = LaunchConfig(confirm=2, confirm_seeds=4, price_per_gpu_hour=3.0)
    plan = make_plan(small_study(), launch, 10, PROBE, NODES)
    assert plan.confirm is not None
    assert (plan.confirm.trials, plan.confirm.trained) == (12, 12 * 128)
    assert plan.confirm.samples == 12 * 40
    assert plan.cost == pytest.approx(3 * plan.hours)


def test_fork_trains_what_is_shared_once() -> None:
    alone = make_plan(small_study(), LaunchConfig(confirm=1), 10, PROBE, NODES)
    study = small_study(fork_from="baseline@32")
    plan = make_plan(study, LaunchConfig(confirm=1), 10, PROBE, NODES)
    assert plan.prefix is not None and plan.prefix.trained == 32
    trained = [sum(rung.trained for rung in found.rungs) for found in (alone, plan)]
    assert trained[0] - trained[1] == 32 * 3
    assert plan.prefix_saved == 64
    assert alone.confirm is not None and plan.confirm is not None
    assert plan.confirm.trained == 6 * 96 + 3 * 32  # a prefix for each of three seeds


def test_snapshots_of_averages_take_room() -> None:
    experiment = small_experiment(training__ema_lengths=[0.05], training__snapshots_per_doubling=4)
    study = small_study(scheduler="none", num_trials=10)
    study = dataclasses.replace(study, experiment=experiment)
    probe = dataclasses.replace(PROBE, snapshot_mib=0.5)
    every = make_plan(study, LaunchConfig(), 10, probe, NODES)
    few = make_plan(study, LaunchConfig(keep_trials=1), 10, probe, NODES)
    assert every.snapshots == every.snapshots_at_most == 40  # at 32, 64, 96 and 128 images
    assert every.disk_mib == 20 * 2.0 + 40 * 0.5
    assert (few.snapshots, few.snapshots_at_most) == (8, 40)
    again = make_plan(study, LaunchConfig(confirm=1, confirm_seeds=3), 10, probe, NODES)
    assert again.snapshots == 40 + 2 * 3 * 4


def test_checkpoints_of_few_leaders_are_kept() -> None:
    study = small_study(scheduler="none", num_trials=10)
    every = make_plan(study, LaunchConfig(), 10, PROBE, NODES)
    few = make_plan(study, LaunchConfig(keep_trials=1), 10, PROBE, NODES)
    assert every.checkpoints == every.checkpoints_at_most == 20
    assert (few.checkpoints, few.checkpoints_at_most) == (4, 20)
    assert few.disk_mib == 8.0


def test_checkpoints_that_guide_take_room() -> None:
    guides = {"evaluation__guides": [None, 0.25, 0.5], "training__num_images": 512}
    study = small_study(scheduler="none", num_trials=10)
    study = dataclasses.replace(study, experiment=small_experiment(**guides))
    every = make_plan(study, LaunchConfig(), 10, PROBE, NODES)
    few = make_plan(study, LaunchConfig(keep_trials=1), 10, PROBE, NODES)
    again = make_plan(study, LaunchConfig(confirm=1, confirm_seeds=3), 10, PROBE, NODES)
    assert every.checkpoints == every.checkpoints_at_most == 10 * (1 + 2 + 1)  # and the newest
    assert (few.checkpoints, few.checkpoints_at_most) == (8, 40)
    assert again.checkpoints == 40 + 6 * (1 + 1 + 1)
    rungs = dataclasses.replace(study, scheduler="asha", reduction_factor=2.0)
    assert [rung.images for rung in rungs.rungs] == [64, 128, 256, 512]
    few = make_plan(rungs, LaunchConfig(keep_trials=0), 10, PROBE, NODES)
    assert few.checkpoints == 4 + 1 + 1  # 32 images guide the first two rungs


def test_cheaper_candidates_that_are_drawn_in_full_are_planned() -> None:
    samplers = {
        "evaluation__samplers": ["ddim-1", "ddim-2", "ddim-4"]
    }  # 1, 2, 4 and 8 evaluations
    study = small_study(scheduler="none", num_trials=5)
    plain, cheap = (
        make_plan(
            dataclasses.replace(study, experiment=small_experiment(**samplers, **more)),
            LaunchConfig(),
            10,
            PROBE,
            NODES,
        )
        for more in ({}, {"evaluation__prefer_cheap": 0.02})
    )
    assert cheap.samples - plain.samples == 5 * 3 * 40

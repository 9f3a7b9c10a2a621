import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from diffrop.confirmation.assessment import (
    assess,
    conclusion,
    confirm_dict,
    next_points,
    t_interval,
)
from diffrop.confirmation.plan import (
    Candidate,
    Confirmation,
    fresh_seeds,
    missing_points,
    plan_confirmation,
    read_cards,
    record_failure,
)
from diffrop.cost.actual import actual_cost
from diffrop.execution.tasks import TaskMaker
from diffrop.execution.trial import run_trial
from diffrop.record.cost_account import CostAccount
from diffrop.record.score_card import ScoreCard
from diffrop.record.trial_folder import TRAINING_NOTE
from diffrop.storage import write_atomically
from diffrop.study.config import LaunchConfig, StudyConfig
from diffrop.study.ranking import choose_leaders
from diffrop.study.sampling_choice import fixed_choice
from diffrop.study.space import Parameter, SearchSpace
from tests.made.small import small_experiment, small_inputs, small_study

BUDGET = LaunchConfig(confirm=2, budget_wall_s=100.0)


def contender(number: int, **changes: object) -> Candidate:
    form = "hinge" if number else "none"
    settings = {"omega": 0.5, "sampler": "ddim-2", "values": {"contrastive.form": form}}
    name = f"t{number:03d} {form}"
    return Candidate(number=number, name=name, **(settings | changes))  # type: ignore[arg-type]


def confirmation(
    *leaders: int, study: StudyConfig | None = None, launch: LaunchConfig | None = None
) -> Confirmation:
    numbers = leaders or (3, 5)
    return plan_confirmation(
        study or small_study(),
        launch or LaunchConfig(),
        contender(0),
        [contender(number) for number in numbers],
    )


def card(value: float, many: float = 10.0) -> ScoreCard:
    scores = {"fid/all": value, "fid/many": many}
    row = {"omega": 0.5, "sampler": "ddim-2", "num_samples": 40, "scores": scores}
    return ScoreCard(
        images_seen=128,
        time=0.0,
        objectives=["fid/all"],
        values=[value],
        omega=0.5,
        sampler="ddim-2",
        extractor="pixels",
        reference="full training set",
        num_samples={"all": 40, "many": 12},
        num_reference={"all": 70},
        final=True,
        curve=[row],
        intervals={"fid/all": {"low": value - 1, "high": value + 1}},
        class_scores={},
        samples_drawn=40,
        seconds={"sampling": 1.0, "features": 0.5, "metrics": 0.5},
    )


def cards(**values: list[float | None]) -> dict[tuple[int, int], ScoreCard | None]:
    """Scores by contender, as in t3=[41.0, 42.0]; None failed."""
    return {
        (int(name[1:]), seed): None if value is None else card(value)
        for name, found in values.items()
        for seed, value in enumerate(found)
    }


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


def test_choice_is_read_from_its_name() -> None:
    kept = small_experiment(training__ema_lengths=[0.05, 0.1])
    fixed = fixed_choice(kept, 0.75, "ddim-5-ema-0.1")
    assert (fixed.sampling.sampler, fixed.sampling.num_steps) == ("ddim", 5)
    assert fixed.sampling.ema_length == 0.1
    assert fixed.evaluation.guidance_scales == (0.75,)
    assert fixed_choice(kept, 0.0, "ancestral-1000").sampling.sampler == "ancestral"
    with pytest.raises(ValueError, match=r"0\.2.*allowed: of 0\.05, 0\.1"):
        fixed_choice(kept, 0.0, "ddim-5-ema-0.2")


def test_leaders_of_one_objective_are_the_first_feasible_ones() -> None:
    values = {4: [30.0], 1: [10.0], 2: [20.0], 7: [15.0]}
    assert choose_leaders(values, 3) == [1, 7, 2]
    assert choose_leaders(values, 3, feasible=[2, 4]) == [2, 4, 1]
    assert choose_leaders({}, 2) == []


def test_leaders_of_two_objectives_are_the_fronts_first_and_knee() -> None:
    front = {1: [0.0, 10.0], 2: [1.0, 9.0], 3: [2.0, 2.0], 4: [10.0, 0.0]}
    behind = {5: [2.5, 2.5]}
    assert choose_leaders({**behind, **front}, 5) == [1, 3, 2, 4, 5]


def test_clear_leader_is_named_and_the_nearest_of_the_others_is_not() -> None:
    found = cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0], t5=[49.0, 53.5, 50.0])
    outcome = assess(confirmation(), found)
    assert outcome.best is not None and outcome.best.contender.number == 3
    stored = json.loads(json.dumps(confirm_dict(outcome, num_trials=9, num_left=0)))
    assert stored["best"] == 3
    assert stored["leaders"][0]["differences"] == pytest.approx([-9.9, -10.1, -10.0])
    assert stored["leaders"][0]["sample_intervals"][0] == [39.1, 41.1]
    assert len(stored["seeds"]) == len(stored["baseline"]["values"]) == 3
    assert "t003 hinge is better than the baseline: fid/all -10.00 [-10." in stored["verdict"]
    assert "2 comparisons (Bonferroni), paired over 3 fresh seeds" in stored["verdict"]
    assert next_points(outcome, found) == []


def test_interval_that_holds_0_names_none_and_asks_for_no_seed_without_a_budget() -> None:
    found = cards(t0=[50.0, 52.0, 51.0], t3=[49.0, 52.5, 49.5], t5=[51.0, 53.0, 52.5])
    outcome = assess(confirmation(), found)
    assert outcome.best is None
    assert conclusion(outcome).startswith(
        "No difference found: t003 hinge less the baseline, fid/"
    )
    assert confirm_dict(outcome, num_trials=9, num_left=0)["best"] is None
    assert next_points(outcome, found) == []


def test_near_tie_gets_one_seed_at_a_time_with_the_baseline_until_decided() -> None:
    plan = confirmation(launch=BUDGET)
    assert (plan.num_seeds, plan.most_seeds) == (3, 9)
    found = cards(t0=[50.0, 52.0, 51.0], t3=[49.0, 51.5, 49.5], t5=[51.0, 53.0, 52.5])
    asked = next_points(assess(plan, found), found)
    assert [point.name for point in asked] == ["t000-s3", "t003-s3"]
    found |= {(0, 3): card(50.0), (3, 3): card(49.0)}
    asked = next_points(assess(plan, found), found)
    assert [point.name for point in asked] == ["t000-s4", "t003-s4"]
    for seed in range(4, 9):
        found |= {(0, seed): card(50.0), (3, seed): card(48.9 + 0.1 * (seed % 3))}
    outcome = assess(plan, found)
    assert outcome.best is not None
    assert next_points(outcome, found) == []


def test_seeds_of_a_near_tie_end() -> None:
    plan = confirmation(3, launch=BUDGET)
    found = cards(t0=[50.0] * 9, t3=[45.0, 54.0, 49.0] * 3)
    assert next_points(assess(plan, found), found) == []


def test_resumed_confirmation_keeps_the_number_of_looks() -> None:
    before = {"num_seeds": 3, "most_seeds": 9}
    plan = plan_confirmation(small_study(), LaunchConfig(), contender(0), [contender(3)], before)
    assert plan.most_seeds == 9


def test_failed_leader_is_never_the_best() -> None:
    found = cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, None], t5=[50.0, 52.4, 51.1])
    outcome = assess(confirmation(), found)
    assert outcome.best is None
    assert "t003 hinge failed at 1 seed(s), so that it cannot be the best." in conclusion(outcome)


def test_leader_that_breaks_a_guard_rail_is_not_named() -> None:
    guarded = small_experiment(evaluation__constraints=["fid/many <= baseline + 5%"])
    study = dataclasses.replace(small_study(), experiment=guarded)
    found = cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0])
    found |= {(3, seed): card(40.0 + seed, many=11.0) for seed in range(3)}
    outcome = assess(confirmation(3, study=study), found)
    (row,) = confirm_dict(outcome, num_trials=9, num_left=0)["leaders"]
    assert row["constraints"] == [
        {
            "text": "fid/many <= baseline + 5%",
            "kept": False,
            "num_kept": 0,
            "excess": pytest.approx(11 / 10.5 - 1),
        }
    ]
    assert outcome.best is None
    assert conclusion(outcome).startswith("No best is named. t003 hinge is better (-10.")


def test_given_start_makes_the_verdict_conditional() -> None:
    found = cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0])
    shared = confirmation(3, study=small_study(fork_from="/checkpoints/x.safetensors"))
    assert "conditional" in conclusion(assess(shared, found))
    own = confirmation(3, study=small_study(fork_from="baseline@64"))
    assert "conditional" not in conclusion(assess(own, found))


def test_one_seed_that_did_not_fail_tells_nothing() -> None:
    found = cards(t0=[50.0, 51.0, 52.0], t3=[40.0, None, None])
    assert conclusion(assess(confirmation(3), found)).startswith("Cannot be told: fewer than two")


def test_nothing_is_judged_before_every_contender_has_had_its_seeds() -> None:
    found = cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0], t5=[49.0, 53.5])
    outcome = assess(confirmation(), found)
    assert outcome.best is None and not any(one.differences for one in outcome.leaders)
    assert conclusion(outcome) == "Cannot be told yet: 1 of 9 retrainings are left."
    assert next_points(outcome, found) == []
    assert assess(confirmation(), found | cards(t5=[49.0, 53.5, 50.0])).best is not None


def test_finished_points_are_read_back_and_only_missing_ones_are_trained(tmp_path: Path) -> None:
    plan, inputs = confirmation(3), small_inputs()
    maker = TaskMaker(plan.study, LaunchConfig(), tmp_path, inputs.dataset.train_digest)
    tasks = {point.key: maker.confirmation(point) for point in plan.points()}
    other = {**card(50.0).to_dict(), "omega": 2.0}
    for key, content in {(0, 1): card(50.0).to_dict(), (3, 0): other}.items():
        path = tasks[key].directory / "scores" / "images_000000000128.json"
        write_atomically(path, json.dumps(content))
        write_atomically(tasks[key].directory / TRAINING_NOTE, tasks[key].key)
    record_failure(tasks[3, 1], "non-finite loss")
    found = read_cards(plan, maker.confirmation)
    assert {key: known and known.value for key, known in found.items()} == {
        (0, 1): 50.0,
        (3, 1): None,
    }
    names = [point.name for point in missing_points(plan, found)]
    assert names == ["t000-s0", "t003-s0", "t000-s2", "t003-s2"]
    wider = dataclasses.replace(maker, launch=LaunchConfig(workers_per_trial=2))
    assert read_cards(plan, wider.confirmation) == {}  # other trainings: they do not pair


def test_trained_points_are_scored_paired_and_charged(tmp_path: Path) -> None:
    study = small_study(fork_from="baseline@64")
    launch = LaunchConfig(confirm=1, confirm_seeds=2)
    plan = plan_confirmation(study, launch, contender(0), [contender(3, omega=1.0)])
    inputs = small_inputs()
    folder = tmp_path / study.name
    maker = TaskMaker(study, launch, folder, inputs.dataset.train_digest)
    device = torch.device("cpu")
    for seed in {point.config.training.seed for point in plan.points()}:
        prefix = maker.prefix(seed)
        assert prefix is not None
        run_trial(prefix, inputs, device, lambda result: None)
    for point in plan.points():
        run_trial(maker.confirmation(point), inputs, device, lambda result: None)
    found = read_cards(plan, maker.confirmation)
    assert missing_points(plan, found) == []
    outcome = assess(plan, found)
    assert outcome.leaders[0].seeds == (0, 1)
    assert not plan.conditional_on_prefix
    fact = actual_cost(folder, study, launch, wall_s=1.0)
    assert fact["prefix"]["trained"] == 2 * 64  # once for each seed
    assert fact["confirm"]["trained"] == 4 * 64
    assert fact["confirm"]["trials"] == 4
    assert fact["samples"] == fact["confirm"]["samples"] == 4 * 40  # one choice, no search
    ledger = CostAccount(units=1)
    for path in folder.glob("*/*"):
        ledger.settle(path)
    assert ledger.spending() == pytest.approx(fact["worker_hours"])


@pytest.mark.parametrize(("num_leaders", "num_seeds"), [(1, 3), (3, 3), (5, 4)])
def test_simultaneous_intervals_cover_all_differences(num_leaders: int, num_seeds: int) -> None:
    plan = confirmation(*range(1, 1 + num_leaders), launch=LaunchConfig(confirm_seeds=num_seeds))
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=(20_000, 1, num_seeds))  # shared: the differences correlate
    leaders = rng.normal(size=(20_000, num_leaders, num_seeds)) - 0.7
    _, low, high = t_interval(leaders - baseline, plan.level(num_seeds))
    covered = ((low <= -0.7) & (high >= -0.7)).all(axis=1).mean()
    assert 0.945 <= covered < 0.985


def test_further_looks_do_not_make_a_difference_of_nothing() -> None:
    plan = confirmation(1, 2, 3, launch=BUDGET)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(20_000, 3, 9)) - rng.normal(size=(20_000, 1, 9))
    named = np.zeros(20_000, dtype=bool)
    repeated = np.zeros(20_000, dtype=bool)  # what looking on at one and the same level would do
    for count in range(3, 10):
        named |= (t_interval(noise[..., :count], plan.level(count))[2] < 0).any(axis=1)
        repeated |= (t_interval(noise[..., :count], plan.alpha / 3)[2] < 0).any(axis=1)
    assert named.mean() < 0.025 < repeated.mean()

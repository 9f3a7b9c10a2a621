from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from diffrop.search.pbt import RESAMPLE, explore, leaders, next_child
from diffrop.search.rung_scores import RungScores
from diffrop.study.space import Parameter, SearchSpace
from tests.made.small import small_study

SPACE = SearchSpace(
    parameters=(
        Parameter(name="contrastive.form", choices=("hinge", "reciprocal"), source="x"),
        Parameter(name="contrastive.tau_0", low=0.1, high=100, log=True, source="x"),
        Parameter(name="contrastive.decay_temperature", low=0.2, high=1.2, source="x"),
        Parameter(name="diffusion.group_size", low=2, high=16, integer=True, source="x"),
        Parameter(name="model.num_res_blocks", low=1, high=4, integer=True, source="x"),
        Parameter(
            name="contrastive.margin",
            low=0.9,
            high=1.1,
            source="x",
            when={"contrastive.form": ["hinge"]},
        ),
    )
)
LEADER = {
    "contrastive.form": "reciprocal",
    "contrastive.tau_0": 10.0,
    "contrastive.decay_temperature": 0.7,
    "diffusion.group_size": 8,
    "model.num_res_blocks": 2,
}


def test_numbers_move_choices_are_drawn_anew_now_and_then_and_the_network_stays() -> None:
    rng = np.random.default_rng(0)
    found = [explore(SPACE, LEADER, rng) for _ in range(400)]
    assert {point["contrastive.tau_0"] for point in found} == {8.0, 12.5}
    temperatures = {round(point["contrastive.decay_temperature"], 6) for point in found}
    assert temperatures == {0.6, 0.8}
    assert {point["diffusion.group_size"] for point in found} == {7, 9}
    assert {point["model.num_res_blocks"] for point in found} == {2}
    hinges = [point for point in found if point["contrastive.form"] == "hinge"]
    assert len(hinges) / 400 == pytest.approx(RESAMPLE / 2, abs=0.06)
    assert all(("contrastive.margin" in p) == (p in hinges) for p in found)
    margins = [point["contrastive.margin"] for point in hinges]
    assert min(margins) >= 0.9 and max(margins) <= 1.1 and len(set(margins)) == len(margins)


def test_values_stay_in_their_range_and_turn_back_at_its_ends() -> None:
    rng = np.random.default_rng(0)
    ends = {**LEADER, "contrastive.tau_0": 100.0, "contrastive.decay_temperature": 0.2}
    ends["diffusion.group_size"] = 16
    for _ in range(50):
        point = explore(SPACE, ends, rng)
        assert point["contrastive.tau_0"] == 80.0
        assert point["contrastive.decay_temperature"] == pytest.approx(0.3)
        assert point["diffusion.group_size"] == 15
    near = explore(SPACE, {**LEADER, "contrastive.tau_0": 0.11}, np.random.default_rng(1))
    assert near["contrastive.tau_0"] >= 0.1


def trial(
    number: int, score: float, state: TrialState = TrialState.RUNNING, **attributes: Any
) -> FrozenTrial:
    rungs = {"64": {"values": [score], "num_samples": 20}}
    made = optuna.trial.create_trial(
        state=state, user_attrs={"rungs": rungs, "values": LEADER, **attributes}
    )
    made.number = number
    return made


def test_leaders_are_the_best_share_without_baseline_and_failures() -> None:
    config = small_study(num_trials=12, scheduler="pbt", reduction_factor=2.0)
    trials = [trial(0, 0.5), trial(1, 1.0), trial(2, 2.0, TrialState.FAIL), trial(3, 3.0)]
    trials += [trial(4, 4.0), trial(5, 9.0, TrialState.PRUNED, stopped_at=64)]
    trials += [trial(6, 0.1, audited_at=32), trial(7, 8.0), trial(8, 7.0)]
    scores = RungScores(config)
    scores.sync(trials)
    # audited earlier, trial 6 is out; the best 4 of the other 8 are 0, 1, 2 and 3
    assert leaders(config, 64, 5, trials, scores) == [1, 3]


def test_each_stopped_trial_has_one_child_of_the_same_leader_after_a_restart() -> None:
    config = small_study(num_trials=12, scheduler="pbt")
    trials = [trial(0, 5.0), trial(1, 1.0), trial(2, 9.0, TrialState.PRUNED, stopped_at=64)]
    trials += [trial(3, 2.0), trial(4, 8.0, TrialState.PRUNED, stopped_at=64)]
    scores = RungScores(config)
    scores.sync(trials)

    def child(trials: list[FrozenTrial], forkable: bool = True) -> Any:
        return next_child(config, len(trials), trials, scores, lambda number, images: forkable)

    first = child(trials)
    assert first.replaces == 2 and first.parent in (1, 3) and first.images == 64
    assert first == child(trials)
    assert child(trials, forkable=False) is None
    second = child([*trials, trial(5, 1.5, replaces=2)])
    assert second.replaces == 4
    assert child([*trials, trial(5, 1.5, replaces=2), trial(6, 1.5, replaces=4)]) is None

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from diffrop.constraints import parse_constraints
from diffrop.record.trial_state import RungScore
from diffrop.search.optuna_private import GENERATION_KEY
from diffrop.search.sampler_view import (
    KnownStudy,
    SamplerView,
    make_sampler,
    num_modelled,
    population_size,
    sampler_report,
)
from diffrop.study.config import StudyConfig
from diffrop.study.space import Parameter, SearchSpace
from tests.made.small import small_experiment, small_study

SPACE = SearchSpace(
    parameters=(
        Parameter(name="contrastive.tau_0", low=0.1, high=10, log=True, source="x"),
        Parameter(name="contrastive.decay_temperature", low=0.1, high=1, source="x"),
    )
)
CONSTRAINT = "fid/many <= baseline + 5%"


def study(**changes: Any) -> StudyConfig:
    config = small_study(**({"num_trials": 20, "first_rung_images": 32} | changes))
    return dataclasses.replace(config, space=SPACE)


def made(
    number: int,
    state: TrialState,
    scores: Mapping[int, float | tuple[float, ...]],
    params: Mapping[str, float] | None = None,
    many: float | None = None,
    **attributes: Any,
) -> FrozenTrial:
    """A trial as the real study holds it."""
    rows = {}
    for images, score in scores.items():
        values = score if isinstance(score, tuple) else (score,)
        known = {} if many is None else {"fid/many": many}
        rows[str(images)] = RungScore(values, 20, known).to_dict()
    params = params or {"contrastive.tau_0": 1.0 + number / 10}
    ranges = {p.name: p.distribution() for p in SPACE.parameters if p.name in params}
    values = rows["128"]["values"] if state == TrialState.COMPLETE else None
    trial = optuna.trial.create_trial(
        state=state,
        values=values,
        params=dict(params),
        distributions=ranges,
        user_attrs={"rungs": rows, **attributes},
    )
    trial.number = number
    return trial


def baseline(state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    value = 1.0 if state == TrialState.COMPLETE else None
    trial = optuna.trial.create_trial(state=state, value=value)
    trial.number = 0
    return trial


def nobody(images: int) -> RungScore | None:
    return None


def mirrored(history: SamplerView) -> list[FrozenTrial]:
    return history._study.get_trials(deepcopy=False)


def test_outcome_orders_complete_stopped_and_failed_and_forgets_the_lost() -> None:
    def found(trial: FrozenTrial, fidelity: int | None = None) -> Any:
        return sampler_report(trial, fidelity, 128, (), nobody, baseline_runs=False)

    complete = found(made(1, TrialState.COMPLETE, {32: 5.0, 128: 3.0}))
    assert (complete.state, complete.values) == (TrialState.COMPLETE, (3.0,))
    stopped = found(made(2, TrialState.PRUNED, {32: 5.0, 64: 4.0}))
    assert (stopped.state, stopped.steps) == (TrialState.PRUNED, {32: 5.0, 64: 4.0})
    failed = found(made(3, TrialState.FAIL, {32: 5.0}, failure=True))
    assert (failed.state, failed.steps) == (TrialState.PRUNED, {})
    assert found(made(4, TrialState.FAIL, {})).state == TrialState.FAIL
    assert found(made(5, TrialState.RUNNING, {32: 5.0})) is None
    running = found(made(6, TrialState.RUNNING, {32: 5.0}), fidelity=32)
    assert (running.state, running.values) == (TrialState.COMPLETE, (5.0,))
    assert found(made(7, TrialState.RUNNING, {32: 5.0}), fidelity=64) is None


def test_constraint_waits_for_the_baseline_and_is_dropped_if_it_never_comes() -> None:
    constraints = parse_constraints((CONSTRAINT,))
    trial = made(1, TrialState.COMPLETE, {128: 3.0}, many=11.0)

    def found(score: float | None, runs: bool) -> Any:
        known = None if score is None else RungScore((1.0,), 40, {"fid/many": score})
        return sampler_report(trial, None, 128, constraints, lambda images: known, runs)

    assert found(None, runs=True) is None
    assert found(None, runs=False).violations == {}
    assert found(10.0, runs=True).violations == {CONSTRAINT: pytest.approx(11 / 10.5 - 1)}


def test_baseline_is_no_point_and_running_trials_are_liars() -> None:
    history = SamplerView(study(), 1)
    history.sync(
        [baseline(), made(1, TrialState.RUNNING, {}), made(2, TrialState.PRUNED, {32: 1.0})],
        nobody,
    )
    states = [trial.state for trial in mirrored(history)]
    assert states == [TrialState.RUNNING, TrialState.PRUNED]
    history.sync(
        [baseline(), made(1, TrialState.COMPLETE, {128: 7.0}), made(2, TrialState.PRUNED, {})],
        nobody,
    )
    first, second = mirrored(history)
    assert (first.state, first.value) == (TrialState.COMPLETE, 7.0)
    assert second.intermediate_values == {32: 1.0}  # what has ended is not read again


def test_suggestion_becomes_the_mirror_of_its_own_trial() -> None:
    history = SamplerView(study(), 1)
    values = history.suggest(1)
    history.sync([baseline(), made(1, TrialState.COMPLETE, {128: 2.0}, values)], nobody)
    (trial,) = mirrored(history)
    assert trial.params == values and trial.value == 2.0


def test_bohb_models_the_highest_rung_with_enough_trials() -> None:
    config = study(sampler="bohb")
    assert num_modelled(config) == 3
    history = SamplerView(config, 1)
    low = [made(n, TrialState.RUNNING, {32: float(n)}) for n in range(1, 5)]
    history.sync([baseline(), *low], nobody)
    assert [trial.value for trial in mirrored(history)] == [1.0, 2.0, 3.0, 4.0]
    high = [made(n, TrialState.RUNNING, {32: float(n), 64: 10.0 - n}) for n in range(1, 4)]
    last = made(4, TrialState.PRUNED, {32: 4.0})
    history.sync([baseline(), *high, last], nobody)
    *modelled, stopped = mirrored(history)
    assert [trial.value for trial in modelled] == [9.0, 8.0, 7.0]
    assert stopped.state == TrialState.PRUNED and stopped.intermediate_values == {32: 4.0}


def test_several_objectives_are_told_as_several_and_stopped_trials_come_last() -> None:
    experiment = small_experiment(evaluation__objectives=("fid/all", "fid/few"))
    history = SamplerView(dataclasses.replace(study(), experiment=experiment), 1)
    trials = [made(n, TrialState.COMPLETE, {128: (float(n), 9.0 - n)}) for n in range(1, 7)]
    history.sync([baseline(), *trials, made(7, TrialState.PRUNED, {32: (0.0, 0.0)})], nobody)
    assert [trial.values for trial in mirrored(history)[:2]] == [[1.0, 8.0], [2.0, 7.0]]
    assert set(history.suggest(8)) == {p.name for p in SPACE.parameters}


def test_generations_of_nsga2_go_by_number_after_the_trials_of_earlier_studies() -> None:
    config = study(sampler="nsga2", num_trials=40)
    assert population_size(config) == 8
    known = KnownStudy("old", [made(1, TrialState.COMPLETE, {128: 5.0})], {})
    history = SamplerView(config, 1, [known])
    trials = [made(n, TrialState.COMPLETE, {128: float(n)}) for n in range(1, 17)]
    history.sync([baseline(), *trials], nobody)
    generations = [trial.system_attrs[GENERATION_KEY] for trial in mirrored(history)]
    assert generations == [0] + [1] * 8 + [2] * 8


@pytest.mark.parametrize("several", [False, True])
def test_nsga2_breeds_from_what_was_best(several: bool) -> None:
    experiment = small_experiment(evaluation__objectives=("fid/all", "fid/few")[: 1 + several])
    config = dataclasses.replace(study(sampler="nsga2"), experiment=experiment)
    rng = np.random.default_rng(0)
    trials = []
    for n in range(1, 13):
        good = n % 2 == 0
        tau = rng.uniform(1, 2) if good else rng.uniform(5, 10)
        params = {"contrastive.tau_0": tau, "contrastive.decay_temperature": rng.uniform(0.1, 1)}
        score = (float(not good), float(not good))[: 1 + several]
        trials.append(made(n, TrialState.COMPLETE, {128: score}, params))
    history = SamplerView(config, 1)
    history.sync([baseline(), *trials], nobody)
    drawn = [history.suggest(n)["contrastive.tau_0"] for n in range(13, 33)]
    assert sum(1 <= tau <= 2 for tau in drawn) >= 7  # half are mutations, 1 in 7 lies there


def fill(config: StudyConfig, history: SamplerView, count: int) -> list[dict[str, Any]]:
    """Run trials whose score is the distance to tau_0 = 3; return the points."""
    trials, points = [baseline()], []
    for number in range(1, count + 1):
        history.sync(trials, nobody)
        points.append(history.suggest(number))
        score = abs(math.log(points[-1]["contrastive.tau_0"] / 3))
        trials.append(made(number, TrialState.COMPLETE, {32: score, 128: score}, points[-1]))
    return points


@pytest.mark.parametrize("sampler", ["tpe", "bohb", "nsga2"])
def test_samplers_learn_and_random_does_not(sampler: str) -> None:
    def late(name: str) -> float:
        config = study(sampler=name, num_trials=30, seed=1)
        points = fill(config, SamplerView(config, 1), 29)[15:]
        return float(np.median([abs(math.log(p["contrastive.tau_0"] / 3)) for p in points]))

    assert late(sampler) < late("random")


def test_same_seed_and_history_give_the_same_suggestion() -> None:
    config = study(num_trials=12)
    trials = [made(n, TrialState.COMPLETE, {128: float(n)}) for n in range(1, 9)]
    drawn = []
    for _ in range(2):
        history = SamplerView(config, 1)
        history.sync([baseline(), *trials], nobody)
        drawn.append(history.suggest(9))
    assert drawn[0] == drawn[1]
    other = SamplerView(dataclasses.replace(config, seed=1), 1)
    other.sync([baseline(), *trials], nobody)
    assert other.suggest(9) != drawn[0]


def test_trials_of_earlier_studies_take_the_place_of_the_random_start() -> None:
    rng = np.random.default_rng(0)
    trials = []
    for n, tau in enumerate(rng.uniform(0.1, 10, 20), start=1):
        params = {"contrastive.tau_0": tau, "contrastive.decay_temperature": 0.5}
        trials.append(made(n, TrialState.COMPLETE, {128: abs(math.log(tau / 3))}, params))

    def first(known: list[KnownStudy]) -> float:
        histories = [SamplerView(study(num_trials=20, seed=seed), 1, known) for seed in range(9)]
        drawn = [history.suggest(1)["contrastive.tau_0"] for history in histories]
        return float(np.median([abs(math.log(tau / 3)) for tau in drawn]))

    assert first([KnownStudy("old", trials, {})]) < first([]) / 2


def test_samplers_are_those_that_the_study_names() -> None:
    kinds = {
        "tpe": TPESampler,
        "bohb": TPESampler,
        "nsga2": NSGAIISampler,
        "random": RandomSampler,
    }
    for name, kind in kinds.items():
        assert type(make_sampler(study(sampler=name), 1, seed=0)) is kind


def believing(**changes: Any) -> StudyConfig:
    """A study whose first parameter has a prior."""
    first = dataclasses.replace(SPACE.parameters[0], prior=9.0, confidence="high")
    space = dataclasses.replace(SPACE, parameters=(first, *SPACE.parameters[1:]))
    return dataclasses.replace(study(**changes), space=space)


def share_believed(config: StudyConfig, trials: list[FrozenTrial]) -> float:
    """Of 200 new trials after those of a study."""
    view = SamplerView(config, max_concurrent=1)
    view.sync([baseline(), *trials], nobody)
    drawn = [view.believed(number) for number in range(100, 300)]
    assert drawn == [view.believed(number) for number in range(100, 300)]
    assert all(4 < values["contrastive.tau_0"] <= 10 for values in drawn if values)
    return sum(bool(values) for values in drawn) / 200


def test_priors_are_taken_by_half_of_the_first_trials_and_as_the_scores_speak_for_them() -> None:
    config = believing(num_trials=40)

    def ended(near: float, other: float) -> list[FrozenTrial]:
        return [
            made(n, TrialState.COMPLETE, {128: near if n % 2 else other}, from_prior=bool(n % 2))
            for n in range(1, 11)
        ]

    assert 0.4 < share_believed(config, []) < 0.6
    assert 0.35 < share_believed(config, ended(near=1, other=2)) < 0.57  # 5.5 / 6 / 2
    assert share_believed(config, ended(near=2, other=1)) < 0.1  # 0.5 / 6 / 2
    values = SamplerView(config, 1).suggest(31, {"contrastive.tau_0": 9.5})
    assert values["contrastive.tau_0"] == 9.5 and "contrastive.decay_temperature" in values


def test_without_priors_nothing_is_believed() -> None:
    view = SamplerView(study(), max_concurrent=1)
    assert [view.believed(number) for number in range(1, 20)] == [{}] * 19

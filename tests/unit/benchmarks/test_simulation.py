import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from benchmarks.search_efficiency import cost, median_interval, ratio_interval
from benchmarks.search_methods import METHODS, Engine, PlainOptuna, Setting, TuneOptunaSearch
from benchmarks.simulation import (
    Quest,
    SimulatedTraining,
    StudyNoise,
    Trial,
    best_share,
    simulate,
)
from benchmarks.surrogate import Point, Surrogate
from diffrop.study.space import Parameter, SearchSpace
from tests.made.surrogate_grid import FORMS, made_grid

SPACE = SearchSpace(
    parameters=(
        Parameter(name="contrastive.form", source="", choices=FORMS),
        Parameter(name="contrastive.tau_0", source="", low=0.1, high=100, log=True),
        Parameter(name="contrastive.decay_temperature", source="", low=0.05, high=1, log=True),
        Parameter(
            name="contrastive.margin",
            source="",
            low=0.995,
            high=1.05,
            when={"contrastive.form": ["hinge"]},
        ),
    )
)


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return Surrogate.fit(made_grid(noise=0.3))


def queue_of(*lengths: tuple[float, ...]) -> Callable[[], Trial | None]:
    left: Iterator[tuple[float, ...]] = iter(lengths)
    return lambda: iter(found) if (found := next(left, None)) is not None else None


def test_workers_take_the_next_trial_as_soon_as_they_are_free() -> None:
    # Worker a: 1 + 2, then 1; worker b: 2, then 5.
    assert list(simulate(queue_of((1, 2), (2,), (5,), (1,)), num_workers=2)) == [2, 3, 4, 7]


def test_one_worker_runs_trials_one_after_the_other() -> None:
    assert list(simulate(queue_of((1, 1), (3,)), num_workers=1, start_s=10)) == [12, 15]


def test_a_trial_decides_when_its_time_has_come() -> None:
    seen: list[str] = []

    def trial(name: str, seconds: float) -> Trial:
        yield seconds
        seen.append(name)

    trials = iter([trial("slow", 3), trial("fast", 1)])
    list(simulate(lambda: next(trials, None), num_workers=2))
    assert seen == ["fast", "slow"]


def test_more_samples_hold_the_fewer_and_the_same_score_the_same(surrogate: Surrogate) -> None:
    training = SimulatedTraining(surrogate, Point(), StudyNoise(surrogate, 0, common=True))
    assert training.fid(20_480, 1.0, 500) == training.fid(20_480, 1.0, 500)
    deviations = []
    for seed in range(150):
        training = SimulatedTraining(surrogate, Point(), StudyNoise(surrogate, seed, common=True))
        few = training.fid(20_480, 1.0, 500) - surrogate.bias_at(500)
        many = training.fid(20_480, 1.0, 1_000)
        deviations.append((math.log(few), math.log(many)))
    # Half of the samples are the same: correlation sqrt(1/2), where there is no other noise.
    sampling = np.cov(np.array(deviations).T)
    assert sampling[0, 0] > sampling[1, 1]
    assert np.corrcoef(np.array(deviations).T)[0, 1] > 0.6


def test_common_random_numbers_leave_differences_alone(surrogate: Surrogate) -> None:
    def spread(common: bool) -> float:
        found = []
        for seed in range(100):
            noise = StudyNoise(surrogate, seed, common)
            one, other = (SimulatedTraining(surrogate, Point(), noise) for _ in range(2))
            found.append(math.log(one.fid(20_480, 1.0, 1_000) / other.fid(20_480, 1.0, 1_000)))
        return float(np.std(found))

    assert spread(common=True) <= spread(common=False)


def test_a_quest_is_judged_by_the_truth_of_what_looks_best(surrogate: Surrogate) -> None:
    good, bad = Point("hinge", 0.1, 0.1, 1.0), Point("exponential", 100.0, 1.0)
    quest = Quest(surrogate, threshold=surrogate.final_fid(good, 1.0) + 0.1)
    quest.complete(bad, 1.0, score=1.0)  # a lucky score
    assert not quest.reached
    quest.complete(good, 1.0, score=2.0)
    assert not quest.reached  # it does not look best
    quest.complete(good, 1.0, score=0.5)
    assert quest.reached and quest.truth <= quest.threshold


def test_the_share_is_that_of_random_points(surrogate: Surrogate) -> None:
    threshold, fids = best_share(surrogate, SPACE, 0.2, at_best_omega=False)
    rng = np.random.default_rng(0)
    under = []
    for _ in range(800):
        form = FORMS[rng.integers(4)]
        margin = rng.uniform(0.995, 1.05) if form == "hinge" else 0.0
        values = 10 ** rng.uniform(-1, 2), math.exp(rng.uniform(math.log(0.05), 0))
        point = Point(form, *values, margin)
        under.append(surrogate.final_fid(point, rng.uniform(0, 2)) <= threshold)
    assert np.mean(under) == pytest.approx(0.2, abs=0.05)
    assert (np.diff(fids) >= 0).all()
    at_best, _ = best_share(surrogate, SPACE, 0.2, at_best_omega=True)
    assert at_best <= threshold


@pytest.mark.parametrize("name", [*METHODS])
def test_every_method_finds_half_of_the_space(surrogate: Surrogate, name: str) -> None:
    setting = Setting(surrogate, SPACE, num_trials=24, num_workers=2)
    threshold, _ = best_share(surrogate, SPACE, 0.5, at_best_omega=False)
    spent, quest = cost(METHODS[name], setting, threshold, seed=1)
    whole = surrogate.seconds.training(0, 20_480)
    assert quest.reached
    assert whole / 2 < spent < 24 * whole


def test_the_engine_is_not_done_by_its_baseline(surrogate: Surrogate) -> None:
    setting = Setting(surrogate, SPACE, num_trials=2, num_workers=1)
    spent, quest = cost(Engine(scheduler="none"), setting, threshold=1e9, seed=0)
    assert quest.reached  # by trial 1
    assert spent > surrogate.seconds.training(0, 2 * 20_480)


def test_equal_seeds_cost_the_same(surrogate: Surrogate) -> None:
    setting = Setting(surrogate, SPACE, num_trials=6, num_workers=2)
    for method in (Engine(), PlainOptuna(), TuneOptunaSearch()):
        assert cost(method, setting, 0.0, 3)[1].value == cost(method, setting, 0.0, 3)[1].value


def test_median_interval_knows_the_unfinished() -> None:
    assert median_interval([1.0, 2.0, 3.0])[0] == 2
    assert median_interval([1.0, math.inf, math.inf])[0] == math.inf
    low, high = median_interval(list(range(50)))[1:]
    assert (low, high) == (17, 32)  # order statistics 18 and 33 of 50


def test_ratio_of_equal_costs_is_one() -> None:
    ratio, low, high = ratio_interval([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    assert ratio == 1 and low == 1 and high == 1

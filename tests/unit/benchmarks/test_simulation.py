import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from benchmarks.engine_method import Engine, Setting
from benchmarks.package_methods import PlainOptuna, TuneOptunaSearch
from benchmarks.search_efficiency import gap_closed, mean_interval, null_rate, run_study
from benchmarks.search_methods import AS_PARAMETER, ENGINE, METHODS, ORACLE
from benchmarks.simulation import (
    Course,
    Leader,
    SimulatedTraining,
    StudyNoise,
    Trial,
    Truth,
    simulate,
)
from benchmarks.surrogate import Surrogate
from tests.made.landscape import made_landscape, made_lines

GOOD = {
    "contrastive.form": "negative_l2",
    "contrastive.tau_0": 50.0,
    "contrastive.decay_temperature": 0.2,
}
BAD = {**GOOD, "contrastive.form": "exponential"}


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    landscape = made_landscape()
    lines = made_lines(landscape, 24, own=0.02, shared=0.05, sampling=0.3)
    fitted = Surrogate.fit(landscape, lines)
    return dataclasses.replace(fitted, fork_share=0.5)


@pytest.fixture(scope="module")
def setting(surrogate: Surrogate) -> Setting:
    return Setting(surrogate, Truth.of(surrogate), num_trials=12, num_workers=2)


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
    training = SimulatedTraining(surrogate, {}, StudyNoise(surrogate, 0, common=True))
    assert training.score(20_480, 1.0, 500) == training.score(20_480, 1.0, 500)
    deviations = []
    for seed in range(150):
        training = SimulatedTraining(surrogate, {}, StudyNoise(surrogate, seed, common=True))
        few = training.score(20_480, 1.0, 500) - surrogate.bias_at(500)
        deviations.append((math.log(few), math.log(training.score(20_480, 1.0, 1_000))))
    assert np.corrcoef(np.array(deviations).T)[0, 1] > 0.6


def test_common_random_numbers_keep_trainings_of_equal_draws_together(
    surrogate: Surrogate,
) -> None:
    def spread(common: bool, other: dict[str, object]) -> float:
        found = []
        for seed in range(100):
            noise = StudyNoise(surrogate, seed, common)
            one, two = (SimulatedTraining(surrogate, v, noise) for v in ({}, other))
            ratio = one.score(20_480, 1.0, 1_000) / two.score(20_480, 1.0, 1_000)
            found.append(math.log(ratio))
        return float(np.std(found))

    assert spread(common=True, other=GOOD) < spread(common=False, other=GOOD)
    changed = {**GOOD, "diffusion.noise": "shared"}  # other draws: one seed does not pair them
    assert spread(common=True, other=GOOD) < spread(common=True, other=changed)


def test_a_leader_is_what_looks_best_and_is_known_by_its_truth(surrogate: Surrogate) -> None:
    leader = Leader(surrogate)
    leader.complete(BAD, 1.0, score=2.0)
    assert leader.truth == pytest.approx(math.log(surrogate.final_score(BAD, 1.0)))
    leader.complete(GOOD, 2.0, score=3.0)
    assert leader.score == 2.0  # it does not look best
    leader.complete(GOOD, 2.0, score=1.0)
    assert leader.truth == pytest.approx(math.log(surrogate.final_score(GOOD, 2.0)))
    assert leader.at_best < leader.truth  # omega 2 is not its best


def test_thresholds_are_those_of_random_points(surrogate: Surrogate) -> None:
    truth = Truth.of(surrogate)
    assert truth.threshold(0.2) == pytest.approx(np.quantile(truth.at_omegas, 0.2), abs=0.01)
    assert truth.threshold(0.2, at_best_omega=True) <= truth.threshold(0.2)
    assert truth.at_best[0] == pytest.approx(truth.at_omegas[0])
    best = surrogate.log_scores([truth.best])[0, -1]
    assert best.min() == pytest.approx(truth.at_best[0], abs=0.02)


def test_the_area_of_a_course_is_its_mean_over_the_logarithm_of_work() -> None:
    course = Course(np.array([2.0, 8.0]), np.array([0.5, 0.1]), start=1.0)
    assert [course.at(s) for s in (1, 2, 7, 8, 99)] == [1.0, 0.5, 0.5, 0.1, 0.1]
    assert course.area(1, 16) == pytest.approx((1.0 * 1 + 0.5 * 2 + 0.1 * 1) / 4)
    assert course.area(4, 16) == pytest.approx((0.5 + 0.1) / 2)
    grid = np.geomspace(1, 16, 20_001)
    assert course.area(1, 16) == pytest.approx(np.mean([course.at(s) for s in grid]), abs=1e-3)
    assert Course(np.array([]), np.array([]), start=1.0).area(1, 2) == 1.0


def test_the_gap_is_closed_by_the_oracle_and_left_open_by_random_points() -> None:
    rng = np.random.default_rng(0)
    random, oracle = 1 + 0.1 * rng.standard_normal(50), 0.2 + 0.05 * rng.standard_normal(50)
    assert gap_closed(random, random, oracle) == (0, 0, 0)
    assert gap_closed(oracle, random, oracle) == (1, 1, 1)
    middle, low, high = gap_closed((random + oracle) / 2, random, oracle)
    assert low <= middle <= high and middle == pytest.approx(0.5)
    assert mean_interval([2.0] * 5) == (2, 2, 2)


@pytest.mark.parametrize("name", [name for name in METHODS if name != ORACLE])
def test_no_method_beats_the_oracle_and_all_name_a_leader(setting: Setting, name: str) -> None:
    budget = setting.num_trials * setting.whole_s
    study = run_study(METHODS[name], setting, seed=1, budget_s=budget)
    best = run_study(METHODS[ORACLE], setting, seed=1, budget_s=budget)
    assert 0 < study.spent_s <= budget
    assert len(study.course.seconds) > 0
    assert (study.course.regrets >= 0).all()
    first, last = setting.whole_s, budget
    assert study.course.area(first, last) > best.course.area(first, last)
    assert best.course.at(budget) < 0.1 and not best.wrong


def test_a_study_ends_with_its_budget(setting: Setting) -> None:
    method, budget = PlainOptuna(random=True), 4 * setting.whole_s
    short = run_study(method, setting, 0, budget)
    assert short.spent_s <= budget < run_study(method, setting, 0, math.inf).spent_s


def test_equal_seeds_find_the_same(setting: Setting) -> None:
    for method in (Engine(), PlainOptuna(), TuneOptunaSearch(omega=AS_PARAMETER)):
        one, two = (run_study(method, setting, 3, math.inf).course for _ in range(2))
        assert (one.regrets == two.regrets).all() and (one.seconds == two.seconds).all()


def test_one_seed_names_something_better_where_nothing_is(setting: Setting) -> None:
    """The interval over samples leaves the training's own noise out: the defect is measured."""
    rate, _, _ = null_rate(METHODS[ENGINE], setting, range(6))
    assert rate > 0.05


def test_what_a_rule_stopped_is_judged_by_its_truth(setting: Setting) -> None:
    study = run_study(METHODS[ENGINE], setting, 1, math.inf)
    ended = run_study(METHODS["  no stopping"], setting, 1, math.inf)
    assert ended.stopped == ended.wrongly_stopped == 0
    assert study.stopped > 0 and study.wrongly_stopped <= study.stopped
    assert study.spent_s < ended.spent_s
    everything = dataclasses.replace(setting.truth, at_best=setting.truth.at_best + 10)
    all_top = run_study(
        METHODS[ENGINE], dataclasses.replace(setting, truth=everything), 1, math.inf
    )
    assert all_top.wrongly_stopped == all_top.stopped == study.stopped

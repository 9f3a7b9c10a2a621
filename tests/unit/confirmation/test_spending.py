import numpy as np
import pytest
import scipy.stats

from benchmarks.confirmation_power import (
    NOBODY,
    RULES,
    Outcome,
    paired_noise,
    simulate,
)
from diffrop.confirmation.assessment import assess, next_points
from diffrop.confirmation.plan import Confirmation
from diffrop.confirmation.spending import exact_levels, look_levels
from diffrop.record.score_card import ScoreCard
from diffrop.study.config import LaunchConfig
from tests.made.confirmations import confirmation, retraining_card

NUM_RUNS = 20_000


def bounded(num_leaders: int, num_seeds: int) -> Confirmation:
    """A confirmation whose near-ties get further seeds."""
    launch = LaunchConfig(confirm_seeds=num_seeds, budget_wall_s=100.0)
    return confirmation(*range(1, 1 + num_leaders), launch=launch)


def confirmed(
    num_leaders: int, num_seeds: int, effect: float, spending: str | None = None
) -> Outcome:
    """Confirmations in which the first leader is better by an effect, the others by nothing."""
    plan = bounded(num_leaders, num_seeds)
    seeds = range(plan.num_seeds, plan.max_seeds + 1)
    levels = tuple(plan.level(count) for count in seeds)
    if spending is not None:
        levels = look_levels(spending, plan.alpha / num_leaders, seeds[0], seeds[-1])
    noise = paired_noise(NUM_RUNS, num_leaders, plan.max_seeds)
    return simulate(noise, -effect * (np.arange(num_leaders) == 0), levels)


def times_named(outcome: Outcome) -> tuple[float, float]:
    """How often the first leader was named, and how often at the first look."""
    return (outcome.named == 0).mean(), (outcome.named_first == 0).mean()


@pytest.mark.parametrize("first", [2, 3, 5])
@pytest.mark.parametrize("rule", ["a half, then equal", "squares"])
def test_intervals_miss_by_each_look_as_often_as_is_spent(first: int, rule: str) -> None:
    """Brute force: Student's t over simulated differences, look by look."""
    levels = RULES[rule](0.2, first, 3 * first)
    looks = np.arange(first, 3 * first + 1)
    part = (looks - first) / (2 * first)
    spent = 0.2 * {"squares": (looks / looks[-1]) ** 2}.get(rule, (1 + part) / 2)
    draws = np.random.default_rng(0).normal(size=(100_000, 3 * first)) * 7 + 3
    missed = np.zeros(len(draws), dtype=bool)
    for count, level, expected in zip(looks, levels, spent, strict=True):
        seen = draws[:, :count]
        ends = scipy.stats.t.isf(level / 2, count - 1) * seen.std(axis=1, ddof=1) / count**0.5
        missed |= np.abs(seen.mean(axis=1) - 3) > ends
        assert missed.mean() == pytest.approx(expected, abs=4 * (expected / len(draws)) ** 0.5)


def test_levels_of_many_seeds_are_those_of_the_normal_distribution() -> None:
    """The bivariate normal distribution, of another library, where t has 400 degrees."""
    first, second = exact_levels([0.03, 0.05], 400)
    ends = scipy.stats.norm.isf(np.array([first, second]) / 2)
    correlation = (400 / 401) ** 0.5
    pair = scipy.stats.multivariate_normal(cov=[[1, correlation], [correlation, 1]])
    assert 1 - pair.cdf(ends, lower_limit=-ends) == pytest.approx(0.05, abs=5e-4)


def test_one_look_has_the_whole_error() -> None:
    assert look_levels("half_then_equal", 0.05, 3, 3) == look_levels("geometric", 0.05, 3, 3)
    assert look_levels("half_then_equal", 0.05, 3, 3) == (0.05,)


def test_baseline_that_fails_at_times_hardly_changes_the_level() -> None:
    """Its seeds are lost to the pairs, and the levels stay those of the seeds that were tried."""
    levels = look_levels("half_then_equal", 0.05, 3, 9)
    rng = np.random.default_rng(2)
    draws = rng.normal(size=(40_000, 9))
    draws[rng.random(draws.shape) < 0.2] = np.nan
    missed = np.zeros(len(draws), dtype=bool)
    for count, level in zip(range(3, 10), levels, strict=True):
        seen = draws[:, :count]
        pairs = (~np.isnan(seen)).sum(axis=1)
        known = pairs > 1
        seen, pairs = seen[known], pairs[known]
        error = np.nanstd(seen, axis=1, ddof=1) / pairs**0.5
        missed[known] |= np.abs(np.nanmean(seen, axis=1)) > (
            scipy.stats.t.isf(level / 2, pairs - 1) * error
        )
    assert missed.mean() == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize(("num_leaders", "num_seeds"), [(1, 2), (1, 3), (3, 3), (3, 5)])
def test_level_holds_over_all_looks(num_leaders: int, num_seeds: int) -> None:
    nothing = confirmed(num_leaders, num_seeds, effect=0)
    four_errors = 4 * (0.05 * 0.95 / NUM_RUNS) ** 0.5
    assert nothing.missed.mean() < 0.05 + four_errors
    assert nothing.missed.mean() > 0.035  # what is not spent is power that is lost
    assert (nothing.named != NOBODY).mean() < 0.025 + four_errors


@pytest.mark.parametrize(
    ("num_leaders", "num_seeds", "effect", "power", "at_first"),
    [
        (1, 3, 1.0, 0.50, 0.08),
        (1, 3, 3.0, 0.99, 0.47),
        (3, 3, 1.5, 0.63, 0.04),
        (3, 5, 0.5, 0.12, 0.02),
        (3, 5, 1.0, 0.64, 0.09),
        (3, 5, 2.0, 0.98, 0.48),
    ],
)
def test_power_holds_at_the_first_look_and_at_the_end(
    num_leaders: int, num_seeds: int, effect: float, power: float, at_first: float
) -> None:
    found = confirmed(num_leaders, num_seeds, effect)
    before = confirmed(num_leaders, num_seeds, effect, spending="geometric")
    named, first = times_named(found)
    named_before, first_before = times_named(before)
    assert named > power > named_before or named > named_before > 0.99
    assert first == first_before > at_first  # no clear effect is left unnamed
    assert found.trainings.mean() <= before.trainings.mean()


def test_simulated_rule_is_the_one_that_confirms() -> None:
    plan = bounded(2, 3)
    levels = tuple(plan.level(count) for count in range(3, 10))
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(25, 3, 9))
    scores[:, 1] -= 2  # to be named at times, at the first look or later
    outcome = simulate(scores[:, 1:] - scores[:, :1], np.zeros(2), levels)
    for run, values in enumerate(scores):
        cards: dict[tuple[int, int], ScoreCard | None] = {
            key: retraining_card(float(values[key])) for key in np.ndindex(3, 3)
        }
        while asked := next_points(assess(plan, cards), cards):
            cards |= {point.key: retraining_card(float(values[point.key])) for point in asked}
        best = assess(plan, cards).best
        assert outcome.named[run] == (best.candidate.number - 1 if best else NOBODY)
        assert outcome.trainings[run] == len(cards)
    assert len(set(outcome.named)) > 1 and len(set(outcome.trainings)) > 3

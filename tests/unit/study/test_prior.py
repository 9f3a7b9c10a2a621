import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from diffrop.study.prior import SPREAD, Confidence, Finished, draw, probability
from diffrop.study.space import Parameter, SearchSpace


def draws_of(parameter: Parameter, count: int) -> list[object]:
    space, rng = SearchSpace(parameters=(parameter,)), np.random.default_rng(0)
    return [draw(space, rng)[parameter.name] for _ in range(count)]


@pytest.mark.parametrize(("prior", "confidence"), [(3.0, "high"), (0.1, "medium"), (50.0, "low")])
def test_draws_are_normal_in_the_logarithm_cut_at_the_ends(
    prior: float, confidence: Confidence
) -> None:
    parameter = Parameter(
        name="contrastive.tau_0",
        low=0.1,
        high=100,
        log=True,
        prior=prior,
        confidence=confidence,
        source="x",
    )
    shares = (np.log10(draws_of(parameter, 2_000)) + 1) / 3
    middle, spread = (math.log10(prior) + 1) / 3, SPREAD[confidence]
    ends = (-middle / spread, (1 - middle) / spread)
    expected = stats.truncnorm(*ends, loc=middle, scale=spread)
    assert stats.kstest(shares, expected.cdf).pvalue > 0.01


def test_draws_of_whole_numbers_are_whole_and_in_range() -> None:
    parameter = Parameter(
        name="training.warmup_images", low=0, high=8, prior=8, confidence="low", source="x"
    )
    found = draws_of(parameter, 500)
    assert {type(value) for value in found} == {int}
    assert set(found) == set(range(9)) and max(set(found), key=found.count) in (7, 8)


@pytest.mark.parametrize(("confidence", "share"), [("low", 0.5), ("medium", 0.75), ("high", 0.9)])
def test_a_choice_is_drawn_more_often_than_the_others(
    confidence: Confidence, share: float
) -> None:
    choices = ("hinge", "exponential", "reciprocal")
    parameter = Parameter(
        name="contrastive.form",
        choices=choices,
        prior="exponential",
        confidence=confidence,
        source="x",
    )
    found = draws_of(parameter, 3_000)
    counts = [found.count(choice) for choice in choices]
    expected = [3_000 * part for part in ((1 - share) / 2, share, (1 - share) / 2)]
    assert stats.chisquare(counts, expected).pvalue > 0.01


def test_a_parameter_without_a_prior_is_left_to_the_sampler() -> None:
    known = Parameter(
        name="contrastive.space", choices=("mu", "x0"), prior="x0", confidence="high", source="x"
    )
    free = Parameter(name="contrastive.tau_0", low=1, high=2, source="x")
    space = SearchSpace(parameters=(free, known))
    assert set(draw(space, np.random.default_rng(0))) == {"contrastive.space"}
    only = SearchSpace(parameters=(free,))
    assert draw(only, np.random.default_rng(0)) == {}


def test_priors_are_taken_less_often_as_trials_finish() -> None:
    even = [Finished(near, (1.0,)) for near in (True, False) * 24]
    found = [probability(even[:finished], num_trials=48) for finished in range(48)]
    assert found[0] == 0.5 and found[12] == pytest.approx(0.25)
    assert all(later < earlier for earlier, later in itertools.pairwise(found))
    assert sum(found) / 48 == pytest.approx(math.log(5) / 8, rel=0.1)  # of w / (w + k) / 2


@given(
    near=st.lists(st.none() | st.tuples(st.floats(0, 9)), max_size=6),
    others=st.lists(st.none() | st.tuples(st.floats(0, 9)), max_size=6),
)
def test_priors_are_taken_as_often_as_what_took_them_was_better(
    near: list[tuple[float, ...] | None], others: list[tuple[float, ...] | None]
) -> None:
    finished = [Finished(True, v) for v in near] + [Finished(False, v) for v in others]
    infinite = [math.inf if v is None else v[0] for v in (*near, *others)]
    ranks = stats.rankdata(infinite)  # Mann and Whitney's U, from the sums of ranks
    count = len(near)
    wins = count * len(others) + count * (count + 1) / 2 - ranks[:count].sum()
    seen = count if others else 0
    chance = (0.5 + (wins / len(others) if others else 0)) / (1 + seen)
    expected = chance * 10 / (10 + len(finished))
    assert probability(finished, num_trials=40) == pytest.approx(expected)


def test_of_two_objectives_a_trial_beats_what_it_dominates() -> None:
    one, other = Finished(True, (1.0, 2.0)), Finished(False, (2.0, 2.0))
    split = Finished(False, (0.5, 3.0))
    assert probability([one, other], 4) == pytest.approx(0.75 / 3)
    assert probability([one, split], 4) == pytest.approx(0.5 / 3)

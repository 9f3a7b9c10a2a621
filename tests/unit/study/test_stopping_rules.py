from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from diffrop.study.ranking import RankedScore, count_better
from diffrop.study.stopping_rules import bracket_of, goes_on, is_audited
from tests.made.small import small_study


def one(*values: float) -> list[RankedScore]:
    return [RankedScore((value,)) for value in values]


def decide(rule: Any, scores: list[float], factor: float) -> list[bool]:
    """Return the decision on each of the trials that reach a rung one after another."""
    return [
        goes_on(rule, count_better(one(score)[0], one(*scores[:i])), i, factor)
        for i, score in enumerate(scores)
    ]


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_asha_is_the_brute_force_version(factor: int) -> None:
    rng = np.random.default_rng(factor)
    scores = rng.normal(size=40).tolist()
    for i, found in enumerate(decide("asha", scores, factor)):
        best = sorted(scores[: i + 1])[: max(1, (i + 1) // factor)]
        assert found == (scores[i] in best)


def test_asha_is_that_of_tune_wherever_its_cutoff_is_a_score() -> None:
    scores = np.random.default_rng(0).normal(size=41).tolist()
    tune = ASHAScheduler(
        time_attr="images_seen",
        metric="score",
        mode="min",
        grace_period=1,
        max_t=100,
        reduction_factor=2,
    )
    theirs = []
    for i, score in enumerate(scores):
        who: Any = SimpleNamespace(trial_id=str(i))
        controller: Any = None
        tune.on_trial_add(controller, who)
        action = tune.on_trial_result(controller, who, {"images_seen": 1, "score": score})
        theirs.append(action == TrialScheduler.CONTINUE)
    ours = decide("asha", scores, 2)
    assert ours[1::2] == theirs[1::2]  # with an odd number of others the median is one of them
    assert ours[0] and theirs[0]


def test_median_stops_what_is_worse_than_more_than_half_of_four_or_more() -> None:
    assert decide("median", [1, 2, 3, 99], 2) == [True] * 4
    assert decide("median", [1, 2, 3, 4, 2.5, 2.6], 2)[4:] == [True, False]


def test_population_loses_its_worst_share() -> None:
    assert decide("pbt", [1, 2], 2) == [True, False]
    assert decide("pbt", [1, 2, 3, 4], 4) == [True, True, True, False]
    assert decide("pbt", [5, 4, 3], 2) == [True] * 3


def test_no_rule_stops_nothing_and_equal_scores_stop_nobody() -> None:
    assert decide("none", [1, 2, 3, 4, 5, 6], 2) == [True] * 6
    for rule in ("asha", "median", "pbt"):
        assert decide(rule, [1.0] * 8, 2) == [True] * 8


def test_brackets_share_the_budget_in_every_stretch_of_trials() -> None:
    shares = [8, 6, 4, 4]  # 4 / (s + 1) * 2^s for s = 3, 2, 1, 0, rounded up
    counts = Counter(bracket_of(number, 3, 2.0) for number in range(sum(shares)))
    assert [counts[bracket] for bracket in range(4)] == shares
    first = Counter(bracket_of(number, 3, 2.0) for number in range(11))
    assert [first[bracket] for bracket in range(4)] == [4, 3, 2, 2]
    assert bracket_of(5, 0, 2.0) == 0


def test_audit_takes_its_share_of_the_trials() -> None:
    fifth, none, every = (small_study(audit_fraction=share) for share in (0.2, 0.0, 1.0))
    audited = [is_audited(fifth.seed, fifth.audit_fraction, number) for number in range(1000)]
    assert sum(audited) == pytest.approx(200, abs=4 * 13)
    assert audited[:50] == [
        is_audited(fifth.seed, fifth.audit_fraction, number) for number in range(50)
    ]
    assert not any(is_audited(none.seed, none.audit_fraction, number) for number in range(50))
    assert all(is_audited(every.seed, every.audit_fraction, number) for number in range(50))

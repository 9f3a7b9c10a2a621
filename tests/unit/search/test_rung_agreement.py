import itertools
import math
from typing import Any

import numpy as np
import optuna
import pytest
import scipy.stats
from optuna.trial import FrozenTrial, TrialState

from diffrop.search.rung_agreement import kendall_interval, kendall_tau, rung_agreement
from tests.made.small import small_study


def test_tau_with_equal_weights_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 8, 12).astype(float), rng.integers(0, 8, 12).astype(float)
        ours = kendall_tau(x, y, np.full(12, 3.0))
        assert ours == pytest.approx(scipy.stats.kendalltau(x, y).statistic)


def test_weight_of_a_trial_is_so_many_copies_of_it() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=9), rng.normal(size=9)
    weights = rng.integers(1, 5, 9)
    copies = kendall_tau(np.repeat(x, weights), np.repeat(y, weights), np.ones(weights.sum()))
    assert kendall_tau(x, y, weights.astype(float)) == pytest.approx(copies)


def test_tau_is_the_brute_force_sum_over_pairs() -> None:
    rng = np.random.default_rng(2)
    x, y, w = rng.normal(size=7), rng.normal(size=7), rng.uniform(1, 5, 7)
    agree = total = 0.0
    for i, j in itertools.combinations(range(7), 2):
        agree += w[i] * w[j] * math.copysign(1, (x[i] - x[j]) * (y[i] - y[j]))
        total += w[i] * w[j]
    assert kendall_tau(x, y, w) == pytest.approx(agree / total)


def test_jackknife_leaves_out_one_trial_at_a_time() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=12)
    y = x + rng.normal(size=12)
    w = np.where(np.arange(12) < 3, 5.0, 1.0)
    tau, low, high = kendall_interval(x, y, w)
    assert tau is not None and low is not None and high is not None
    most = 1 - 1 / 12
    others = [np.arange(12) != i for i in range(12)]
    left_out = np.array([kendall_tau(x[keep], y[keep], w[keep]) for keep in others], dtype=float)
    z = np.arctanh(np.clip(left_out, -most, most))
    jackknife = math.sqrt(11 / 12 * ((z - z.mean()) ** 2).sum())
    fieller = math.sqrt(0.437 / (w.sum() ** 2 / (w**2).sum() - 4))
    error = max(jackknife, fieller)
    assert math.atanh(high) - math.atanh(low) == pytest.approx(2 * 1.96 * error)


@pytest.mark.parametrize(("rho", "audit"), [(0.5, None), (0.9, None), (0.7, 0.2), (0.97, 0.2)])
def test_interval_holds_the_tau_of_all_trials_although_most_were_stopped(
    rho: float, audit: float | None
) -> None:
    rng, held, runs = np.random.default_rng(4), 0, 200
    true = 2 / math.pi * math.asin(rho)
    for _ in range(runs):
        full = rng.normal(size=40)
        rung = rho * full + math.sqrt(1 - rho**2) * rng.normal(size=40)
        stopped = np.array([(rung[:i] < rung[i]).sum() >= max(1, (i + 1) // 2) for i in range(40)])
        weights = np.ones(40)
        kept = np.ones(40, dtype=bool)
        if audit is not None:
            kept = ~stopped | (rng.random(40) < audit)
            weights = np.where(stopped, 1 / audit, 1.0)
        _, low, high = kendall_interval(rung[kept], full[kept], weights[kept])
        assert low is not None and high is not None
        held += low <= true <= high
    assert held / runs >= 0.92  # 0.95 less two standard errors


def test_survivors_alone_would_mislead() -> None:
    rng = np.random.default_rng(5)
    full = rng.normal(size=1500)
    rung = 0.7 * full + math.sqrt(1 - 0.49) * rng.normal(size=1500)
    stopped = rung > np.median(rung)
    audited = stopped & (rng.random(1500) < 0.2)
    true = kendall_tau(rung, full, np.ones(1500))
    alive = kendall_tau(rung[~stopped], full[~stopped], np.ones((~stopped).sum()))
    kept = ~stopped | audited
    weighted = kendall_tau(rung[kept], full[kept], np.where(audited, 5.0, 1.0)[kept])
    assert true is not None and alive is not None and weighted is not None
    assert abs(weighted - true) < 0.05 < abs(alive - true)


def full_trial(rung: float, final: float, audited: bool = False) -> FrozenTrial:
    rungs = {"64": {"values": [rung], "num_samples": 20}}
    rungs["128"] = {"values": [final], "num_samples": 40}
    attributes: dict[str, Any] = {"rungs": rungs} | ({"audited_at": 64} if audited else {})
    return optuna.trial.create_trial(state=TrialState.COMPLETE, value=final, user_attrs=attributes)


def stopped_trial(rung: float) -> FrozenTrial:
    attributes = {"rungs": {"64": {"values": [rung], "num_samples": 20}}}
    return optuna.trial.create_trial(state=TrialState.PRUNED, user_attrs=attributes)


def test_conclusion_follows_the_interval() -> None:
    config = small_study(audit_fraction=0.2)
    agreeing = [full_trial(i, i, audited=i > 12) for i in range(16)]
    found = rung_agreement([*agreeing, stopped_trial(9.0)], config)
    (row,) = found.rungs
    assert (row.images, row.num_trials, row.num_audited) == (64, 16, 3)
    assert row.tau == pytest.approx(1.0) and row.low is not None and row.low > 0.4
    assert found.conclusion.startswith("stopping at 64 images was right (100% of pairs")
    turned = [full_trial(-i, i, audited=i > 12) for i in range(16)]
    assert "was wrong" in rung_agreement(turned, config).conclusion
    rng = np.random.default_rng(0)
    noise = [full_trial(float(rng.normal()), i + 5 * float(rng.normal())) for i in range(11)]
    assert "was doubtful" in rung_agreement([*noise], config).conclusion


def test_under_ten_full_trials_nothing_can_be_told() -> None:
    trials = [*(full_trial(i, i) for i in range(9)), stopped_trial(3.0)]
    conclusion = rung_agreement(trials, small_study()).conclusion
    assert conclusion == "cannot be decided: 9 trials ran to their end, and 10 are needed"


def test_conclusion_without_an_audit_says_that_it_is_about_survivors() -> None:
    trials = [*(full_trial(i, i) for i in range(12)), stopped_trial(30.0)]
    assert "about the survivors alone" in rung_agreement(trials, small_study()).conclusion
    assert "survivors" not in rung_agreement(trials[:-1], small_study()).conclusion


def test_study_without_rungs_and_equal_scores_are_no_error() -> None:
    trials = [full_trial(1.0, 2.0) for _ in range(12)]
    assert rung_agreement(trials, small_study()).rungs[0].tau is None
    none = rung_agreement(trials, small_study(scheduler="none"))
    assert none.rungs == () and "no rung before the end" in none.conclusion
    assert rung_agreement([], small_study()).conclusion.startswith("cannot be decided: 0 trials")

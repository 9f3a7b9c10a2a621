import numpy as np
import pytest

from diffrop.search.expected_survivors import expected_survivors
from diffrop.study.stopping_rules import bracket_of, goes_on
from tests.made.small import small_study


@pytest.mark.parametrize("rule", ["asha", "median", "hyperband"])
def test_expected_trials_are_the_mean_over_random_orders(rule: str) -> None:
    study = small_study(
        scheduler=rule,
        num_trials=14,
        first_rung_images=32,
        reduction_factor=2.0,
        audit_fraction=0.25,
    )
    rungs = study.rungs
    rng = np.random.default_rng(0)
    reached = np.zeros(len(rungs))
    for _ in range(400):
        scores = rng.normal(size=(14, len(rungs)))  # no rung says anything of the next
        seen: dict[tuple[int, int], list[float]] = {}
        for number in range(14):
            bracket = bracket_of(number, len(rungs) - 1, 2.0) if rule == "hyperband" else 0
            audited = False
            for place in range(len(rungs)):
                reached[place] += 1
                if audited or place == len(rungs) - 1 or place < bracket:
                    continue
                others = seen.setdefault((bracket, place), [])
                better = sum(score < scores[number, place] for score in others)
                on = goes_on(rule, better, len(others), 2.0) or number == 0
                others.append(scores[number, place])
                if not on:
                    audited = rng.random() < 0.25
                    if not audited:
                        break
    assert expected_survivors(study) == pytest.approx(reached / 400, rel=0.12)


def test_every_trial_reaches_the_end_without_a_scheduler_and_fewer_chains_under_pbt() -> None:
    assert expected_survivors(small_study(scheduler="none", num_trials=7)) == [7]
    chains = expected_survivors(small_study(scheduler="pbt", num_trials=9))
    assert chains == [6, 6]  # 6 that begin, and the half of them is replaced once

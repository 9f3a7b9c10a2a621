import json

import numpy as np
import pytest

from diffrop.confirmation.assessment import (
    assess,
    next_points,
    t_interval,
)
from diffrop.confirmation.conclusion import conclusion, confirmation_record
from diffrop.record.codec import decode, encode
from diffrop.record.confirmation import ConfirmationRecord
from diffrop.study.config import LaunchConfig
from tests.made.confirmations import confirmation, retraining_card, retraining_cards
from tests.made.small import constrained, small_study

BUDGET = LaunchConfig(confirm=2, budget_wall_s=100.0)


def test_clear_leader_is_named_and_the_nearest_of_the_others_is_not() -> None:
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0], t5=[49.0, 53.5, 50.0])
    outcome = assess(confirmation(), found)
    assert outcome.best is not None and outcome.best.candidate.number == 3
    record = confirmation_record(outcome, num_trials=9, num_left=0)
    stored = json.loads(json.dumps(encode(record)))
    assert stored["best"] == 3
    assert stored["leaders"][0]["differences"] == pytest.approx([-9.9, -10.1, -10.0])
    assert stored["leaders"][0]["sample_intervals"][0] == [39.1, 41.1]
    assert len(stored["seeds"]) == len(stored["baseline"]["values"]) == 3
    assert "t003 hinge is better than the baseline: fid/all -10.00 [-10." in stored["verdict"]
    assert "2 comparisons (Bonferroni), paired over 3 fresh seeds" in stored["verdict"]
    assert decode(ConfirmationRecord, stored) == record
    assert next_points(outcome, found) == []


def test_interval_that_holds_0_names_none_and_asks_for_no_seed_without_a_budget() -> None:
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[49.0, 52.5, 49.5], t5=[51.0, 53.0, 52.5])
    outcome = assess(confirmation(), found)
    assert outcome.best is None
    assert conclusion(outcome).startswith(
        "No difference found: t003 hinge less the baseline, fid/"
    )
    assert confirmation_record(outcome, num_trials=9, num_left=0).best is None
    assert next_points(outcome, found) == []


def test_near_tie_gets_one_seed_at_a_time_with_the_baseline_until_decided() -> None:
    plan = confirmation(launch=BUDGET)
    assert (plan.num_seeds, plan.max_seeds) == (3, 9)
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[49.0, 51.5, 49.5], t5=[51.0, 53.0, 52.5])
    asked = next_points(assess(plan, found), found)
    assert [point.name for point in asked] == ["t000-s3", "t003-s3"]
    found |= {(0, 3): retraining_card(50.0), (3, 3): retraining_card(49.0)}
    asked = next_points(assess(plan, found), found)
    assert [point.name for point in asked] == ["t000-s4", "t003-s4"]
    for seed in range(4, 9):
        found |= {
            (0, seed): retraining_card(50.0),
            (3, seed): retraining_card(48.9 + 0.1 * (seed % 3)),
        }
    outcome = assess(plan, found)
    assert outcome.best is not None
    assert next_points(outcome, found) == []


def test_every_look_keeps_its_repeated_interval() -> None:
    plan = confirmation(launch=BUDGET)
    found = retraining_cards(
        t0=[50.0, 52.0, None, 51.0, 50.0],
        t3=[49.0, 51.5, 48.0, 49.5, 49.1],
        t5=[51.0, 54.0, 52.5],
    )
    outcome = assess(plan, found)
    ahead, behind = outcome.leaders
    looks = ahead.differences["fid/all"].looks
    assert [look.num_seeds for look in looks] == [2, 3, 4]  # at one the baseline failed
    assert [look.level for look in looks] == [plan.level(tried) for tried in (3, 4, 5)]
    differences = np.array([-1.0, -0.5, -1.5, -0.9])
    for look in looks:
        known = differences[: look.num_seeds]
        mean, low, high = t_interval(known, look.level)
        assert (look.mean, look.low, look.high) == pytest.approx((mean, low, high))
    assert len(behind.differences["fid/all"].looks) == 1
    record = confirmation_record(outcome, num_trials=9, num_left=2)
    leader = record.leaders[0]
    assert leader.looks == leader.objectives["fid/all"].looks == looks
    assert (leader.low, leader.high) == (looks[-1].low, looks[-1].high)
    assert record.repeated and decode(ConfirmationRecord, encode_json(record)) == record
    assert (
        "together for 2 comparisons (Bonferroni) and all looks at 3 to 9 seeds (repeated "
        "interval), paired over 4 fresh seeds. t005 hinge is undecided: +1.50 ["
    ) in record.conclusion
    assert not confirmation_record(assess(confirmation(), found), 9, 0).repeated


def encode_json(record: ConfirmationRecord) -> object:
    """The record as its file gives it back."""
    return json.loads(json.dumps(encode(record)))


def test_seeds_of_a_near_tie_end() -> None:
    plan = confirmation(3, launch=BUDGET)
    found = retraining_cards(t0=[50.0] * 9, t3=[45.0, 54.0, 49.0] * 3)
    assert next_points(assess(plan, found), found) == []


def test_failed_leader_is_never_the_best() -> None:
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, None], t5=[50.0, 52.4, 51.1])
    outcome = assess(confirmation(), found)
    assert outcome.best is None
    assert "t003 hinge failed at 1 seed(s), so that it cannot be the best." in conclusion(outcome)


def test_leader_that_breaks_a_constraint_is_not_named() -> None:
    study = constrained(small_study(), "fid/many <= baseline + 5%")
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0])
    found |= {(3, seed): retraining_card(40.0 + seed, many=11.0) for seed in range(3)}
    outcome = assess(confirmation(3, study=study), found)
    (leader,) = confirmation_record(outcome, num_trials=9, num_left=0).leaders
    (broken,) = leader.constraints
    assert broken.text == "fid/many <= baseline + 5%"
    assert (broken.kept, broken.num_kept) == (False, 0)
    assert broken.excess == pytest.approx(11 / 10.5 - 1)
    assert outcome.best is None
    assert conclusion(outcome).startswith("No best is named. t003 hinge is better (-10.")


def test_given_start_makes_the_conclusion_conditional() -> None:
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0])
    shared = confirmation(3, study=small_study(fork_from="/checkpoints/x.safetensors"))
    assert "conditional" in conclusion(assess(shared, found))
    own = confirmation(3, study=small_study(fork_from="baseline@64"))
    assert "conditional" not in conclusion(assess(own, found))


def test_one_seed_that_did_not_fail_tells_nothing() -> None:
    found = retraining_cards(t0=[50.0, 51.0, 52.0], t3=[40.0, None, None])
    assert conclusion(assess(confirmation(3), found)).startswith(
        "Cannot be decided: fewer than two"
    )


def test_nothing_is_judged_before_every_candidate_has_had_its_seeds() -> None:
    found = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0], t5=[49.0, 53.5])
    outcome = assess(confirmation(), found)
    assert outcome.best is None and not any(one.differences for one in outcome.leaders)
    assert conclusion(outcome) == "Not decided yet: 1 of 9 retrainings are left."
    assert next_points(outcome, found) == []
    assert assess(confirmation(), found | retraining_cards(t5=[49.0, 53.5, 50.0])).best is not None


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

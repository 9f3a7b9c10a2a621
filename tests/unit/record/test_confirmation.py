import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from diffrop.confirmation.assessment import assess
from diffrop.confirmation.conclusion import confirmation_record
from diffrop.record.codec import decode, encode
from diffrop.record.confirmation import ConfirmationRecord
from tests.made.confirmations import confirmation, retraining_cards


def test_confirmation_is_stored_under_the_keys_of_format_3() -> None:
    cards = retraining_cards(t0=[50.0, 52.0, 51.0], t3=[40.1, 41.9, 41.0])
    record = confirmation_record(assess(confirmation(3), cards), num_trials=9, num_left=0)
    stored = json.loads(json.dumps(encode(record)))
    assert decode(ConfirmationRecord, stored) == record
    assert stored["verdict"] == record.conclusion and stored["most_seeds"] == record.max_seeds
    assert stored["leaders"][0]["differences"] == list(record.leaders[0].by_seed)
    assert stored["leaders"][0]["objectives"]["fid/all"]["mean"] == record.leaders[0].mean


def test_confirmation_is_judged_once_a_difference_is_known() -> None:
    nothing = confirmation_record(assess(confirmation(3), {}), num_trials=9, num_left=6)
    assert not nothing.judged and nothing.current
    leader = dataclasses.replace(nothing.leaders[0], mean=-1.0)
    assert dataclasses.replace(nothing, leaders=(leader,)).judged


def test_one_seed_stays_within_the_spread_of_fresh_seeds_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    nothing = confirmation_record(assess(confirmation(3), {}), num_trials=9, num_left=0)
    leader, within = nothing.leaders[0], 0
    for _ in range(2_000):
        drawn = [tuple(rng.normal(level, 5, 4).tolist()) for level in (-3, 8)]
        leaders = tuple(dataclasses.replace(leader, by_seed=values) for values in drawn)
        spread = dataclasses.replace(nothing, leaders=leaders).seed_spread
        assert spread is not None and (spread.degrees, spread.num_seeds) == (6, 4)
        within += abs(rng.normal(0, 5)) <= spread.reach
    assert within / 2_000 == pytest.approx(0.95, abs=0.02)
    pooled = np.sqrt(np.mean([np.var(values, ddof=1) for values in drawn]))
    assert spread.deviation == pytest.approx(pooled)
    assert spread.reach == pytest.approx(stats.t.ppf(0.975, 6) * pooled)


def test_two_fresh_seeds_do_not_tell_a_spread() -> None:
    cards = retraining_cards(t0=[50.0, 52.0], t3=[40.1, 41.9])
    record = confirmation_record(assess(confirmation(3), cards), num_trials=9, num_left=0)
    assert record.seed_spread is None

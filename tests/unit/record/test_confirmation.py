import dataclasses
import json

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

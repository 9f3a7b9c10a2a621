import json

from diffrop.record.codec import decode, encode
from diffrop.record.rung_agreement import AgreementRecord
from tests.made.full_study import agreement


def test_agreement_is_stored_under_the_keys_of_format_3() -> None:
    record = agreement(num_trials=12)
    stored = json.loads(json.dumps(encode(record)))
    assert decode(AgreementRecord, stored) == record
    assert stored["verdict"] == record.conclusion and stored["metric"] == "kendall_tau"
    assert stored["rungs"][0]["tau"] == 0.62

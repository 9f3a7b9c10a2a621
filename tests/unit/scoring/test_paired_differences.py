import dataclasses

import pytest

from diffrop.metrics.intervals import influence_interval
from diffrop.record.results import StudyResult
from diffrop.record.study_store import StudyStore
from diffrop.scoring.paired_differences import with_differences
from tests.made.finished_study import influence
from tests.made.scores import score_card

Finished = tuple[StudyStore, StudyResult]


def test_differences_to_the_baseline_are_paired(finished: Finished) -> None:
    result = with_differences(finished[1])
    found = result.differences[1]["fid/all"]
    assert list(result.differences) == [1] and found.value == -10
    assert result.difference(result.trials[1]) == found
    labels = influence(0)["labels/all"]
    own = influence(1)["fid/all"] - influence(0)["fid/all"]
    expected = influence_interval(-10, own, labels)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-4)
    assert found.high - found.low < 4  # and not about 60


def test_trial_without_its_samples_influence_has_no_difference(finished: Finished) -> None:
    store, result = finished
    path = store.folder.trial(1).influence_path()
    assert path is not None
    path.write_bytes(b"damaged")
    assert with_differences(result).differences == {}
    path.unlink()
    assert with_differences(result).differences == {}


def test_trials_of_unequal_protocols_are_not_compared(finished: Finished) -> None:
    result = finished[1]
    other = score_card(40.0, half_width=3, reference="test images")
    changed = dataclasses.replace(result.trials[1], card=other)
    trials = [result.trials[0], changed, *result.trials[2:]]
    found = with_differences(dataclasses.replace(result, trials=trials))
    assert found.differences == {}

import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from diffrop.metrics.inception import inception_score
from tests.made.features import gaussian


@pytest.mark.parametrize("num_splits", [1, 3, 10])
def test_equals_torch_fidelity_on_its_own_shuffle(num_splits: int) -> None:
    logits = 0.3 * gaussian(101, 12, 0)
    theirs = isc_features_to_metric(logits, num_splits, shuffle=True, rng_seed=2020)
    ours = inception_score(logits, num_splits=num_splits)
    assert ours.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    assert ours.std == pytest.approx(theirs["inception_score_std"], rel=1e-6, abs=1e-12)


def test_certain_and_even_over_classes_scores_their_number_and_indifferent_one() -> None:
    certain = 1e4 * torch.eye(8).repeat(5, 1)
    assert inception_score(certain, num_splits=1).mean == pytest.approx(8)
    assert inception_score(torch.zeros(40, 8)).mean == pytest.approx(1)


def test_fewer_images_than_splits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of 9 image\(s\); allowed: at least 10"):
        inception_score(torch.zeros(9, 3))

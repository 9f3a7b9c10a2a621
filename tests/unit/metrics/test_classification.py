import pytest
import torch
from sklearn.metrics import accuracy_score, precision_score, recall_score

from diffrop.metrics.classification import classification_scores


def test_equals_scikit_learns_macro_averages() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (200,), generator=rng)
    predictions = torch.where(torch.rand(200, generator=rng) < 0.6, labels, labels.flip(0))
    found = classification_scores(predictions, labels)
    assert found.accuracy == pytest.approx(accuracy_score(labels, predictions))
    assert found.precision == pytest.approx(precision_score(labels, predictions, average="macro"))
    assert found.recall == pytest.approx(recall_score(labels, predictions, average="macro"))


def test_a_group_is_scored_by_hand() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    predictions = torch.tensor([0, 2, 1, 2, 2, 0])
    found = classification_scores(predictions, labels, [1, 2])
    # Class 1: 1 of 1 predicted, 1 of 2 found. Class 2: 1 of 3 predicted, 1 of 2 found.
    assert found.precision == pytest.approx((1 + 1 / 3) / 2)
    assert found.recall == pytest.approx(1 / 2)
    assert found.accuracy == pytest.approx(1 / 2) and found.num_images == 4
    with pytest.raises(ValueError, match="no image"):
        classification_scores(predictions, labels, [7])

from pathlib import Path

import pytest
import torch

from diffrop.data import LabelledImages
from diffrop.metrics import classifier
from diffrop.metrics.classifier import trained_classifier
from tests.made.features import classifier_extractor


def test_classifier_knows_its_digits_in_one_pass(digits: LabelledImages, cache: Path) -> None:
    extractor = classifier_extractor(digits, cache)
    found = extractor.extract(digits.images)
    assert found.extractor == "classifier-digits" and found.features.shape == (1797, 64)
    assert found.logits is not None and found.predictions is not None
    assert (found.predictions == digits.labels).float().mean() > 0.99
    some = found.rows(torch.tensor([3, 1]))
    assert torch.equal(some.features, found.features[[3, 1]])
    assert some.predictions is not None and some.predictions.tolist() == [3, 1]


def test_classifier_is_trained_once_for_the_same_images(
    digits: LabelledImages, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = classifier_extractor(digits, cache)

    def train_again(*args: object) -> None:
        raise AssertionError("trained twice")

    monkeypatch.setattr(classifier, "_fit", train_again)
    again, images = classifier_extractor(digits, cache), digits.images[:20]
    torch.testing.assert_close(again.extract(images).features, first.extract(images).features)
    assert again.fingerprint == first.fingerprint
    changed = LabelledImages(255 - digits.images, digits.labels, digits.class_names)
    with pytest.raises(AssertionError, match="trained twice"):
        trained_classifier(changed, cache)

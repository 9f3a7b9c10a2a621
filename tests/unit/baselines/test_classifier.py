import math

import pytest
import torch

from diffrop.baselines.classifier import (
    augmented,
    class_weights,
    predicted_labels,
    train_classifier,
)
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.data import LabelledImages
from diffrop.errors import NonFiniteError

CPU = torch.device("cpu")


def test_class_weights_are_inverse_effective_numbers() -> None:
    """Cui et al. (2019): E_n = 1 + beta + ... + beta^(n - 1)."""
    counts = [500, 20, 1]
    effective = [math.fsum(0.9999**i for i in range(count)) for count in counts]
    weights = class_weights(counts)
    assert weights.mean().item() == pytest.approx(1)
    for c in range(3):
        assert (weights[c] / weights[2]).item() == pytest.approx(1 / effective[c], rel=1e-4)


def test_augmentation_shifts_and_mirrors_only() -> None:
    config = ClassifierConfig(crop_padding=1, horizontal_flip=True)
    image = torch.rand(1, 2, 5, 5)
    batch = augmented(image.expand(64, -1, -1, -1), config, torch.Generator().manual_seed(0))
    framed = torch.nn.functional.pad(image, (1, 1, 1, 1), value=-1)
    shifted = [framed[0, :, i : i + 5, j : j + 5] for i in range(3) for j in range(3)]
    allowed = [*shifted, *(crop.flip(-1) for crop in shifted)]
    seen = set()
    for x in batch:
        matches = [index for index, crop in enumerate(allowed) if torch.equal(x, crop)]
        assert matches
        seen.add(matches[0])
    assert len(seen) > 9


def bright_and_dark(num: int) -> LabelledImages:
    labels = torch.arange(num) % 2
    noise = torch.randint(0, 60, (num, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    images = (noise + 180 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    return LabelledImages(images, labels, ("dark", "bright"))


def test_training_learns_and_repeats() -> None:
    data = bright_and_dark(64)
    config = ClassifierConfig(
        num_images=640, batch_size=32, crop_padding=1, deferred_reweighting=True
    )
    networks = [train_classifier(config, data, CPU) for _ in range(2)]
    predicted = [predicted_labels(network, data.images) for network in networks]
    assert torch.equal(predicted[0], predicted[1])
    assert (predicted[0] == data.labels).float().mean() > 0.9


def test_diverging_training_is_named() -> None:
    config = ClassifierConfig(num_images=1_280, batch_size=32, learning_rate=1e30)
    with pytest.raises(NonFiniteError, match="classifier's loss"):
        train_classifier(config, bright_and_dark(32), CPU)

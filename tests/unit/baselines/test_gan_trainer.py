from pathlib import Path
from typing import get_args

import pytest
import torch

from diffrop.baselines.classifier import train_classifier
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.baselines.gan_config import GanConfig, GanModel
from diffrop.baselines.gan_trainer import GanTrainer, gan_samples
from diffrop.baselines.resnet import ResNet32
from diffrop.checkpoint_file import Checkpoint, read_checkpoint, write_checkpoint
from diffrop.data import Dataset, load_dataset
from diffrop.errors import CheckpointError, NonFiniteError
from tests.made.gans import DATA, small_gan
from tests.made.trainings import CPU

MODELS = get_args(GanModel)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(DATA)


@pytest.fixture(scope="module")
def classifier(digits: Dataset) -> ResNet32:
    return train_classifier(ClassifierConfig(num_images=64, batch_size=32), digits.train, CPU)


def make(config: GanConfig, digits: Dataset, classifier: ResNet32) -> GanTrainer:
    own = classifier if config.model == "cbgan" else None
    return GanTrainer(config, DATA, digits, CPU, own)


@pytest.mark.parametrize("model", MODELS)
def test_resumed_training_is_the_uninterrupted_one(
    model: GanModel, digits: Dataset, classifier: ResNet32, tmp_path: Path
) -> None:
    config = small_gan(model)
    whole = make(config, digits, classifier)
    for _ in range(4):
        whole.step()
    first = make(config, digits, classifier)
    first.step()
    first.step()
    write_checkpoint(tmp_path / "a.safetensors", first.checkpoint())
    second = make(config, digits, classifier)
    second.load(read_checkpoint(tmp_path / "a.safetensors"))
    second.step()
    second.step()
    assert second.images_seen == whole.images_seen == 64
    expected = whole.checkpoint().tensors
    for name, tensor in second.checkpoint().tensors.items():
        assert torch.equal(tensor, expected[name]), name


def test_generator_step_leaves_the_discriminator_and_the_classifier_alone(
    digits: Dataset, classifier: ResNet32
) -> None:
    trainer = make(small_gan("cbgan", discriminator_steps=1), digits, classifier)
    frozen = [p.clone() for p in classifier.parameters()]
    started = [p.clone() for p in trainer.generator.parameters()]
    trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(frozen, classifier.parameters(), strict=True))
    moved = zip(started, trainer.generator.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in moved)
    assert all(p.grad is None for p in classifier.parameters())
    assert all(p.requires_grad for p in trainer.discriminator.parameters())


def test_class_statistics_count_every_generated_image_of_a_cycle(
    digits: Dataset, classifier: ResNet32
) -> None:
    config = small_gan("cbgan", discriminator_steps=1, cycle_images=24, forgetting=1.0)
    trainer = make(config, digits, classifier)
    trainer.step()
    trainer.step()
    assert trainer.balance.counts.sum() == 16
    trainer.step()
    assert trainer.balance.counts.sum() == 0
    least = trainer.balance.frequencies.clamp(min=1)
    assert torch.equal(trainer.balance.frequencies, least)
    assert trainer.balance.frequencies.sum() >= 24


def test_strong_spectral_regulariser_keeps_the_conditioning_small(
    digits: Dataset, classifier: ResNet32
) -> None:
    norms = {}
    for weight in (0.0, 1e4):
        config = small_gan("gsr", spectral_weight=weight, learning_rate=1e-2)
        trainer = make(config, digits, classifier)
        for _ in range(15):
            trainer.step()
        gammas = [p for n, p in trainer.generator.named_parameters() if n.endswith("gamma")]
        norms[weight] = sum(gamma.norm().item() for gamma in gammas)
    assert norms[1e4] < 0.5 * norms[0.0]


@pytest.mark.parametrize("model", MODELS)
def test_samples_repeat_and_carry_the_labels_asked_for(
    model: GanModel, digits: Dataset, classifier: ResNet32
) -> None:
    checkpoint = make(small_gan(model), digits, classifier).checkpoint()
    images, labels = gan_samples(checkpoint, 25, 3, CPU)
    again, _ = gan_samples(checkpoint, 25, 3, CPU)
    assert torch.equal(images, again)
    assert images.shape == (25, 1, 8, 8)
    assert images.dtype == torch.uint8
    if model != "cbgan":
        assert labels.tolist() == [i % 10 for i in range(25)]
    assert int(labels.max()) < 10


def test_other_training_is_refused(digits: Dataset, classifier: ResNet32) -> None:
    checkpoint = make(small_gan("gsr"), digits, classifier).checkpoint()
    with pytest.raises(CheckpointError, match="differs in spectral_weight"):
        make(small_gan("gsr", spectral_weight=2.0), digits, classifier).load(checkpoint)
    longer = make(small_gan("gsr", num_images=640), digits, classifier)
    longer.load(checkpoint)
    other = Checkpoint(checkpoint.tensors, {**checkpoint.card, "data_digest": "other"})
    with pytest.raises(CheckpointError, match="differs in images"):
        longer.load(other)


def test_non_finite_loss_stops_before_the_weights_change(
    digits: Dataset, classifier: ResNet32
) -> None:
    trainer = make(small_gan("sngan"), digits, classifier)
    torch.nn.init.constant_(trainer.generator.head.weight, torch.nan)
    before = trainer.discriminator.head.parametrizations.weight.original.clone()
    with pytest.raises(NonFiniteError, match="network d at images_seen 0"):
        trainer.step()
    assert torch.equal(before, trainer.discriminator.head.parametrizations.weight.original)

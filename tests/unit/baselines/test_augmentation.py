import csv
import json
from pathlib import Path

import pytest
import torch

from diffrop.baselines.augmentation import (
    TABLE_HEAD,
    check_same_data,
    classifier_table,
    generated_images,
    joined,
    table_line,
    table_notes,
    write_results,
)
from diffrop.baselines.classifier_config import ClassifierConfig
from diffrop.baselines.gan_config import GanConfig
from diffrop.baselines.gan_trainer import GanTrainer
from diffrop.checkpoint_file import Checkpoint
from diffrop.config import DataConfig
from diffrop.data import load_dataset
from diffrop.data.held_out import SplitDataset, load_split
from diffrop.training.trainer import Trainer
from tests.made.small import small_experiment

CPU = torch.device("cpu")
DATA = DataConfig(dataset="digits", imbalance_factor=0.1)
SHORT = ClassifierConfig(num_images=64, batch_size=32, crop_padding=1, horizontal_flip=False)


@pytest.fixture(scope="module")
def split() -> SplitDataset:
    return load_split(DATA)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    trainer = Trainer(small_experiment(), load_dataset(DATA), CPU)
    trainer.step()
    return trainer.checkpoint()


def test_generated_images_are_balanced_and_repeat(checkpoint: Checkpoint) -> None:
    first = generated_images(checkpoint, 30, 0.5, 0, CPU)
    assert first.class_counts == [3] * 10
    assert first.images.shape == (30, 1, 8, 8)
    assert torch.equal(first.images, generated_images(checkpoint, 30, 0.5, 0, CPU).images)
    with pytest.raises(ValueError, match="num-generated is 0"):
        generated_images(checkpoint, 0, 0.0, 0, CPU)


def test_images_of_a_gan_can_be_added_too() -> None:
    config = GanConfig(model="sngan", base_channels=8, z_dim=4, batch_size=8)
    gan = GanTrainer(config, DATA, load_dataset(DATA), CPU).checkpoint()
    assert generated_images(gan, 20, 0.0, 0, CPU).class_counts == [2] * 10
    with pytest.raises(ValueError, match=r"omega is 1\.0 with a GAN; allowed: 0"):
        generated_images(gan, 20, 1.0, 0, CPU)


def test_checkpoint_of_other_images_is_refused(
    checkpoint: Checkpoint, split: SplitDataset
) -> None:
    check_same_data(checkpoint, split)
    other = load_split(DataConfig(dataset="digits", imbalance_factor=0.5))
    with pytest.raises(ValueError, match="was trained on other images"):
        check_same_data(checkpoint, other)


def test_table_has_a_row_for_each_training_set(
    checkpoint: Checkpoint, split: SplitDataset, tmp_path: Path
) -> None:
    generated = generated_images(checkpoint, 20, 0.0, 0, CPU)
    rows = classifier_table(SHORT, split, generated, CPU)
    train = len(split.train.labels)
    assert [row.num_training_images for row in rows] == [
        len(split.balanced.labels),
        train,
        train + 20,
    ]
    assert len(joined(split.train, generated).labels) == train + 20
    lines = [TABLE_HEAD, *map(table_line, rows), *table_notes(split, rows, 64)]
    assert max(map(len, lines)) <= 80
    assert not any("--checkpoint" in line for line in lines)
    write_results(tmp_path / "out", {"seed": 0}, rows)
    stored = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert stored["rows"][1]["accuracy"] == rows[1].scores.accuracy
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [float(line["recall"]) for line in table] == [row.scores.recall for row in rows]
